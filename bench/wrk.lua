-- For wrk (Debian): JPEGs of a folder in turn, and the statuses counted.
--   PICTURES=FOLDER wrk -t1 -c16 -d10s --latency -s bench/wrk.lua http://127.0.0.1:8100/infer
-- wrk is a closed loop: it sends no faster than it is answered. Arrivals at a rate: bench/load --rate. One picture with hey:
--   hey -z 10s -c 16 -m POST -T image/jpeg -D PICTURE.jpg http://127.0.0.1:8100/infer
local folder = os.getenv("PICTURES") or "models/fashion-mnist/evaluation"
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local names = io.popen("ls '" .. folder .. "' | grep -iE '[.]jpe?g$'")
  requests, at, statuses = {}, 0, ""
  counts = {}
  for name in names:lines() do
    local file = assert(io.open(folder .. "/" .. name, "rb"))
    table.insert(requests, wrk.format("POST", nil, {["Content-Type"] = "image/jpeg"}, file:read("*a")))
    file:close()
  end
  names:close()
  assert(#requests > 0, "no JPEG in " .. folder)
end

function request()
  at = at % #requests + 1
  return requests[at]
end

-- A thread's tables do not cross to done(), its strings do.
function response(status)
  counts[status] = (counts[status] or 0) + 1
  statuses = ""
  for code, n in pairs(counts) do statuses = statuses .. code .. " " .. n .. " " end
end

function done(summary, latency)
  local sums = {}
  for _, thread in ipairs(threads) do
    for code, n in string.gmatch(thread:get("statuses"), "(%d+) (%d+)") do sums[code] = (sums[code] or 0) + n end
  end
  for code, n in pairs(sums) do print(string.format("status %s: %d", code, n)) end
end
