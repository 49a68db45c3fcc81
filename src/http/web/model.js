/* One model: its state, its accuracy, its traffic. */
const toneOf = state => state === 'ready' || state === 'passed' ? 'good' : state === 'failed' ? 'bad' : '';

class ModelCard {
  constructor(name, number)
  {
    const title = make('h3', {id: 'model-' + number}, name);
    this.name = name;
    this.history = new Minutes();
    this.state = make('span', {class: 'pill'});
    this.which = make('span', {class: 'note'});
    this.recalibrate = make('button', {type: 'button'}, 'Recalibrate\u2026');
    this.rollBack = make('button', {type: 'button'}, 'Roll back\u2026');
    this.reason = make('p', {class: 'bad'});
    this.gate = make('p', {class: 'bad'});
    this.scales = make('p', {class: 'note'});
    this.pictures = make('h4');
    this.accuracy = new Facts('Accuracy of ' + name);
    this.traffic = new Facts('Traffic of ' + name);
    this.images = new Spark('pictures', perSecond, '--accent');
    this.slow = new Spark('p99, about', took, '--other');
    this.job = new JobBox();
    this.layers = new Layers(name);
    for (const button of [this.recalibrate, this.rollBack])
      button.setAttribute('aria-describedby', title.id);
    this.recalibrate.addEventListener('click', () => askToRecalibrate(name));
    this.rollBack.addEventListener('click', () => askToRollBack(name, this.model.generations));
    this.measured = make('div', {class: 'columns'},
                         make('div', {}, this.pictures, this.accuracy.list, make('h4', {}, 'Traffic'), this.traffic.list),
                         make('div', {class: 'sparks'}, this.images.figure, this.slow.figure));
    this.node = make('article', {class: 'model', 'aria-labelledby': title.id},
                     make('header', {}, title, this.state, this.which,
                          make('div', {class: 'buttons'}, this.recalibrate, this.rollBack)),
                     this.reason, this.gate, this.scales, this.measured, this.job.box, this.layers.details);
  }
  update(model, view)
  {
    this.model = model;
    this.history.add(sampleOf(view.metrics, this.name, view.at));
    const job = view.jobs.find(j => j.model === this.name);
    this.updateState(model, view, job);
    this.measured.hidden = model.generation === undefined;
    if (model.generation !== undefined) {
      this.updateAccuracy(model);
      this.updateTraffic(view);
    }
    this.job.update(job);
    this.recalibrate.disabled = model.generation === undefined || Boolean(job) && job.state === 'running';
    this.rollBack.disabled = !(model.generations || []).some(g => !g.serves);
    this.layers.update(model, view.metrics);
  }
  updateState(model, view, job)
  {
    const c = model.calibration, others = (model.versions || []).filter(v => v.version !== model.version);
    const reason = model.last_error || model.reason || '', isOfJob = job && job.error === reason;
    const share = model.macs ? ` ${percent(model.int8_macs / model.macs, 1)} of its ${(model.macs / 1e6).toFixed(1)} M ` : '';
    say(this.state, model.state);
    this.state.className = 'pill ' + toneOf(model.state);
    say(this.which, [
      model.version ? 'version ' + model.version : '',
      model.generation ? 'generation ' + model.generation : '',
      ...others.map(v => `(version ${v.version}: ${v.state}${v.reason ? ', ' + v.reason : ''})`)
    ].filter(Boolean).join(', ').replace(/, \(/g, ' ('));
    say(this.reason, model.last_error && model.state === 'ready' ? 'The last load failed: ' + reason : reason);
    this.reason.hidden = !reason || isOfJob; /* then the job's box has it */
    this.reason.className = model.last_error ? 'bad' : 'note';
    say(this.gate, model.gate && model.gate.reason ? 'Gate failed: ' + model.gate.reason : '');
    this.gate.hidden = !this.gate.textContent;
    this.scales.hidden = !c;
    if (c)
      say(this.scales, `Scales by ${c.method}` + (c.images ? `, from ${plural(c.images, 'picture')}` : '') +
                           (c.skipped ? ` (${c.skipped} more could not be read)` : '') + `, calibrated ` +
                           `${date(model.calibrated_at)}, ${lasted(Math.max(0, view.now - model.calibrated_at))} ago` +
                           (c.from_cache ? ', from the cache.' : `, in ${took(c.seconds)}.`) +
                           (share ? share + 'multiply-accumulates are int8.' : ''));
  }
  updateAccuracy(model)
  {
    const gate = model.gate || {}, held = gate.held_out || {}, found = model.evaluation || held;
    const hint = known((found.fp32 || {}).top1) ? '' : 'not measured';
    say(this.pictures, !found.images ? 'Accuracy: no pictures were held back to measure it with' :
        `Accuracy, on ${plural(found.images, model.evaluation ? 'evaluation picture' : 'held-out picture')}`);
    this.accuracy.set('top-1, fp32', percent((found.fp32 || {}).top1, 2), hint);
    this.accuracy.set('top-1, int8', percent((found.int8 || {}).top1, 2), hint);
    this.accuracy.set('agreement', percent(found.agreement, 2), 'int8 with fp32');
    this.accuracy.set('output SQNR', decibels(found.sqnr_db), 'int8 against fp32');
    this.accuracy.set('gate', gate.status || none, '', toneOf(gate.status));
  }
  updateTraffic(view)
  {
    const history = this.history, labels = {model: this.name}, p50 = history.latency(0.5), p99 = history.latency(0.99);
    const when = p => !known(p.value) ? 'no requests yet' : p.isRecent ? 'last minute' : 'since start';
    const stats = view.stats.find(s => s.name === this.name && Number(s.version) === this.model.version);
    const used = stats && stats.last_inference ? Math.max(0, view.now - stats.last_inference / 1000) : undefined;
    const refused = view.metrics.sum('quantd_rejected_total', labels);
    this.traffic.set('requests', perSecond(history.rate('requests')), count(history.last.requests) + ' in all');
    this.traffic.set('pictures', perSecond(history.rate('images')), count(history.last.images) + ' in all');
    this.traffic.set('waiting', count(view.metrics.one('quantd_queue_images', labels)), 'pictures');
    this.traffic.set('p50, about', took(p50.value), when(p50));
    this.traffic.set('p99, about', took(p99.value), when(p99));
    this.traffic.set('mean batch', fixed(history.batch(), 2), 'pictures');
    this.traffic.set('refused', count(refused), refused ? reasonsOf(view.metrics, labels) : '', refused ? 'bad' : '');
    this.traffic.set('last used', known(used) ? lasted(used) + ' ago' : none);
    this.updateMonitors(view.metrics, labels);
    this.images.draw(picturesLine(history), view.at);
    this.slow.draw(latencyLine(history), view.at);
  }
  /* Series that are there only while they are measured. */
  updateMonitors(metrics, labels)
  {
    const agreement = metrics.one('quantd_shadow_agreement_ratio', labels), drift = metrics.one('quantd_drift', labels);
    const most = metrics.all('quantd_layer_saturation_ratio', labels).filter(s => known(s.value))
                     .sort((a, b) => b.value - a.value)[0];
    this.traffic.set('live agreement', known(agreement) ? percent(agreement, 2) : null, 'with fp32, in the shadow');
    /* The usual reading of a population stability index. */
    const isAlike = drift < 0.1, isOther = drift > 0.25;
    this.traffic.set('drift', known(drift) ? short(drift) : null,
                     isAlike ? 'as calibrated' : isOther ? 'other pictures than calibrated' : 'changing', isOther ? 'bad' : '');
    this.traffic.set('clipped now', most ? percent(most.value, 3) : null, most ? 'at most: ' + tail(most.labels.layer, 24) : '');
  }
}

/* "3 queue full, 1 invalid" */
function reasonsOf(metrics, labels)
{
  const sums = new Map();
  for (const s of metrics.all('quantd_rejected_total', labels))
    sums.set(s.labels.reason, (sums.get(s.labels.reason) || 0) + s.value);
  return [...sums].filter(r => r[1] > 0).map(([reason, n]) => `${count(n)} ${reason.replace(/_/g, ' ')}`).join(', ');
}
