#!/usr/bin/python3
"""restart_load.py URL PICTURE STOP-FILE: requests without a pause while servers replace one another, until STOP-FILE is there.

Half of the clients connect anew for each request, half keep their connection until an answer says "Connection: close".
Every request must be answered 200. Prints the counts and who served; exit code 1 if one was lost.
"""
import collections
import http.client
import json
import os
import sys
import threading
import time

url, picture, stop_file = sys.argv[1:4]
host = url.split("//")[1]
body = open(picture, "rb").read()
lock, counts, lost = threading.Lock(), collections.Counter(), []
end = time.time() + 60


def client(keeps):
    connection = None
    while not os.path.exists(stop_file) and time.time() < end:
        kind = "kept" if keeps and connection else "new"
        try:
            connection = connection or http.client.HTTPConnection(host, timeout=30)
            connection.request("POST", "/infer", body, {"Content-Type": "image/jpeg"} | ({} if keeps else {"Connection": "close"}))
            answer = connection.getresponse()
            ok = answer.status == 200 and "results" in json.loads(answer.read())
            if not keeps or answer.headers.get("Connection", "").lower() == "close":
                connection.close()
                connection = None
            with lock:
                counts[kind] += ok
                if not ok:
                    lost.append(f"{kind}: {answer.status}")
        except Exception as error:
            with lock:
                lost.append(f"{kind}: {error!r}")
            connection = None


threads = [threading.Thread(target=client, args=(i % 2 == 1,)) for i in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(dict(counts), "lost:", len(lost))
for line in lost[:10]:
    print(line)
sys.exit(1 if lost or not counts["kept"] or not counts["new"] else 0)
