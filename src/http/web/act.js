/* What changes something: it is asked for first, and the answer is shown whatever it is. */
const dialog = byId('dialog');
let act = null;

/* run(headers) does it; its answer's error is shown in the dialog, which stays open then. */
function confirmFirst({title, text, button, method, generations, run})
{
  act = run;
  say(byId('dialog-title'), title);
  say(byId('dialog-text'), text);
  say(byId('dialog-yes'), button);
  say(byId('dialog-error'), '');
  byId('method-row').hidden = !method;
  byId('generation-row').hidden = !generations;
  byId('method').value = '';
  byId('generation').replaceChildren(...(generations || []));
  byId('dialog-yes').disabled = false;
  dialog.showModal();
  byId('dialog-no').focus();
}

async function confirmed(event)
{
  event.preventDefault();
  const token = byId('token').value, headers = {'Content-Type': 'application/json'}, mine = act;
  if (token)
    headers.Authorization = 'Bearer ' + token;
  byId('dialog-yes').disabled = true;
  say(byId('dialog-error'), '');
  try {
    const answer = await mine(headers);
    if (act !== mine)
      return refresh(); /* the dialog asks something else by now */
    if (answer.ok) {
      dialog.close();
      refresh();
    } else {
      say(byId('dialog-error'), answer.error);
      if (answer.status === 401)
        byId('token').focus();
    }
  } catch (error) {
    say(byId('dialog-error'), 'There was no answer: ' + error.message);
  }
  byId('dialog-yes').disabled = false;
}

byId('dialog-form').addEventListener('submit', confirmed);
byId('dialog-no').addEventListener('click', () => dialog.close());

function askToRecalibrate(name)
{
  confirmFirst({
    title: `Recalibrate ${name}?`,
    text: 'New scales are made of the stored calibration pictures, at the lowest priority, while the old ones serve. They ' +
        'take over only if they pass the gate; the old ones can be brought back.',
    button: 'Recalibrate',
    method: true,
    run: headers => {
      const method = byId('method').value.trim(), body = JSON.stringify(method ? {model: name, method} : {model: name});
      return ask('recalibrate', {method: 'POST', headers, body});
    }
  });
}

function askToRollBack(name, generations)
{
  const others = generations.filter(g => !g.serves).reverse();
  confirmFirst({
    title: `Roll ${name} back?`,
    text: 'The scales of another generation serve at once. The next recalibration forgets those that were rolled back from.',
    button: 'Roll back',
    generations: others.map(
        g => make('option', {value: g.generation}, `${g.generation}: ${g.method}, ${date(g.calibrated_at)}`)),
    run: headers => ask(`models/${encodeURIComponent(name)}/rollback`, {
      method: 'POST', headers, body: JSON.stringify({generation: Number(byId('generation').value)})})
  });
}

function askToCancel(job)
{
  confirmFirst({
    title: `Cancel the recalibration of ${job.model}?`,
    text: `Job ${job.job} ends, and the scales that serve stay.`,
    button: 'Cancel it',
    run: headers => ask('recalibrate/' + job.job, {method: 'DELETE', headers})
  });
}

function resultOf(job)
{
  const after = ` after ${took(job.seconds)}`, gate = job.result && job.result.gate;
  if (job.state === 'done')
    return `done${after}: generation ${job.result.generation} serves` + (!gate.images ? '.' :
        `, agreement with fp32 ${percent(gate.agreement, 2)}, output SQNR ${decibels(gate.sqnr_db)} on ` +
        `${plural(gate.images, 'held-out picture')}.`);
  if (job.state === 'cancelled')
    return `cancelled${after}; the old scales serve on.`;
  return `${job.state}${after}: ${job.error || 'no reason was given'}`;
}

/* The newest recalibration of a model: how far it is, or what came of it. */
class JobBox {
  constructor()
  {
    this.result = make('p', {role: 'status'});
    this.stage = make('span');
    this.left = make('span', {class: 'note'});
    this.fill = make('div');
    this.track = make('div', {class: 'track', role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100,
                              'aria-label': 'recalibration'}, this.fill);
    this.cancel = make('button', {type: 'button'}, 'Cancel\u2026');
    this.line = make('div', {class: 'line'}, this.stage, this.track, this.left, this.cancel);
    this.box = make('div', {class: 'job', hidden: ''}, this.result, this.line);
    this.cancel.addEventListener('click', () => askToCancel(this.job));
  }
  update(job)
  {
    this.box.hidden = !job;
    if (!job)
      return;
    this.job = job;
    const isRunning = job.state === 'running';
    this.box.className = 'job ' + job.state;
    this.line.hidden = !isRunning;
    say(this.result, isRunning ? `Recalibration, job ${job.job}, runs.`
                               : `The last recalibration, job ${job.job}: ${resultOf(job)}`);
    if (!isRunning)
      return;
    const share = Math.floor(100 * job.progress);
    this.track.setAttribute('aria-valuenow', share);
    this.fill.style.width = share + '%';
    say(this.stage, job.stage + (job.total ? `, ${count(job.done)} of ${count(job.total)}` : ''));
    say(this.left, `${share} %` + (known(job.eta_s) ? `, about ${lasted(Math.ceil(job.eta_s))} left` : ''));
  }
}
