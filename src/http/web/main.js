/* Every few seconds: what the server says, put in its place. */
const everyMs = 3000, whileRunningMs = 1000, whileHiddenMs = 60000, afterFailureMs = 4000;
const cards = new Map(), server = new Facts('Server');
let timer = 0, isRefreshing = false, wantsAgain = false, lastAnswer = 0, started = 0, cpu = null, nextNumber = 1;

function updateServer(view)
{
  const m = view.metrics, build = (m.all('quantd_build_info')[0] || {labels: {}}).labels;
  const start = m.one('process_start_time_seconds');
  const rates = [...cards.values()].map(c => c.history.rate('requests')), spent = m.one('process_cpu_seconds_total');
  const refused = m.sum('quantd_rejected_total'), limit = m.one('process_max_fds');
  if (start !== started)
    cpu = null;
  started = start;
  say(byId('build'), (build.version ? `version ${build.version}, kernels for ${build.isa}, ` : '') +
                         `as of ${clock.format(new Date(view.at * 1000))}`);
  server.set('up for', lasted(view.now - start), known(start) ? 'since ' + date(start) : '');
  server.set('requests', perSecond(rates.some(known) ? rates.filter(known).reduce((a, b) => a + b, 0) : undefined),
             count(m.sum('quantd_requests_total')) + ' in all');
  server.set('refused', count(refused), refused ? reasonsOf(m) : 'since the start');
  server.set('memory', bytes(m.one('process_resident_memory_bytes')), 'resident');
  const busy = cpu && view.at > cpu.at ? Math.max(0, spent - cpu.spent) / (view.at - cpu.at) : undefined;
  server.set('processor', fixed(busy, 2), 'cores busy');
  server.set('open files', count(m.one('process_open_fds')), known(limit) ? `of ${count(limit)}` : '');
  cpu = {spent, at: view.at};
}

function updateModels(view)
{
  const models = view.models, box = byId('models'), names = models.map(m => m.name);
  for (const [name, card] of cards)
    if (!names.includes(name)) {
      card.node.remove();
      cards.delete(name);
    }
  for (const model of models) {
    if (!cards.has(model.name)) {
      cards.set(model.name, new ModelCard(model.name, nextNumber++));
      box.append(cards.get(model.name).node);
    }
    cards.get(model.name).update(model, view);
  }
  say(byId('no-models'), 'There is no model. Put a network at NAME/1/model.onnx in the folder that quantd was started with ' +
                             '(--models), and some hundred pictures into NAME/calibration: it is noticed and loaded.');
  byId('no-models').hidden = models.length > 0;
  byId('no-labels').hidden = !models.some(m => m.gate && !known((m.evaluation || m.gate.held_out).fp32.top1));
  updateChoice(models.filter(m => m.generation !== undefined).map(m => m.name));
}

function setState(text, tone)
{
  say(byId('state'), text);
  byId('state').className = 'pill ' + tone;
  document.title = text === 'ready' ? 'quantd' : 'quantd: ' + text;
}

function showGone(isGone)
{
  if (isGone && byId('gone').hidden) {
    const since = lastAnswer ? ` What stands below is of ${clock.format(new Date(lastAnswer * 1000))}.` : '';
    byId('gone').hidden = false;
    say(byId('gone'), `The server does not answer.${since} This page goes on asking.`);
  } else if (!isGone) {
    byId('gone').hidden = true;
    say(byId('gone'), '');
  }
}

/* One look; the delay until the next. */
async function look()
{
  const answers = [];
  try {
    for (const path of ['readyz', 'models', 'v2/models/stats', 'metrics', 'recalibrate'])
      answers.push(await ask(path)); /* in turn: one connection is enough for a page */
  } catch (error) {
    setState('no answer', 'bad');
    showGone(true);
    return afterFailureMs;
  }
  const [ready, models, stats, metrics, jobs] = answers, bad = answers.slice(1).find(a => !a.ok);
  showGone(false);
  setState(ready.ok ? bad ? 'ready, but: ' + bad.error : 'ready' : 'not ready: ' + ready.error, ready.ok && !bad ? 'good' : 'bad');
  if (bad)
    return afterFailureMs;
  lastAnswer = Date.now() / 1000;
  const view = {at: lastAnswer, now: metrics.date || lastAnswer, models: models.body.models, stats: stats.body.model_stats,
                jobs: jobs.body.jobs, metrics: new Metrics(metrics.body)};
  updateModels(view);
  updateServer(view);
  return !ready.ok || view.jobs.some(j => j.state === 'running') ? whileRunningMs : everyMs;
}

async function refresh()
{
  wantsAgain = isRefreshing;
  if (isRefreshing)
    return;
  isRefreshing = true;
  clearTimeout(timer);
  let delay = afterFailureMs;
  try {
    delay = await look();
  } finally {
    isRefreshing = false;
    timer = setTimeout(refresh, wantsAgain ? 0 : document.hidden ? Math.max(delay, whileHiddenMs) : delay);
  }
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden)
    refresh();
});
byId('server').append(server.list);
refresh();
