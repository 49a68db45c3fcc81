/* Which layer hurts: /models/NAME/layers as a table, worst first. */
const firstLayers = 12;

/* title, text of a cell, key to sort by, whether the largest comes first; no key: not in the list of orders. */
const layerColumns = [
  ['#', l => String(l.number), l => l.number],
  ['layer', l => tail(l.name, 34)],
  ['SQNR, dB', l => fixed(l.cumulative_sqnr_db, 1), l => l.cumulative_sqnr_db],
  ['alone', l => fixed(l.sqnr_db, 1)],
  ['sensitivity, nats', l => short(l.sensitivity_kl), l => l.sensitivity_kl, true],
  ['runs in', l => l.precision],
  ['clipped', l => percent(l.clip_ratio, 3), l => l.clip_ratio, true],
  ['clipped now', l => percent(l.saturation, 3), l => l.saturation, true],
  ['drift now', l => short(l.drift), l => l.drift, true],
  ['operator', l => l.op],
  ['M\u00a0MACs', l => l.macs ? (l.macs / 1e6).toFixed(2) : none],
];
const bySqnr = 2, isText = i => [1, 5, 9].includes(i);
/* Columns that are there only while they are measured: number, key, series. */
const liveColumns = [[7, 'saturation', 'quantd_layer_saturation_ratio'], [8, 'drift', 'quantd_layer_drift']];

class Layers {
  constructor(model)
  {
    this.model = model;
    this.order = bySqnr;
    this.isLong = false;
    this.layers = [];
    this.live = liveColumns.map(() => []);
    this.summary = make('summary', {}, 'Layers');
    this.text = make('p', {class: 'note'}, 'One moment.');
    this.select = make('select', {name: 'order'}, ...layerColumns.flatMap(
                           ([title, , key], i) => key ? [make('option', {value: i}, i ? title : 'order of running')] : []));
    this.select.value = String(bySqnr);
    this.more = make('button', {type: 'button'});
    this.table = make('table');
    this.tools = make('div', {class: 'tools', hidden: ''}, make('label', {}, 'Sort by ', this.select), this.more);
    this.details = make('details', {}, this.summary, this.text, this.tools,
                        make('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Layers of ' + model},
                             this.table));
    this.select.addEventListener('change', () => {
      this.order = Number(this.select.value);
      this.draw();
    });
    this.more.addEventListener('click', () => {
      this.isLong = !this.isLong;
      this.draw();
    });
    this.details.addEventListener('toggle', () => this.load());
  }
  /* Another generation has another report. */
  update(model, metrics)
  {
    const sqnr = metrics.all('quantd_layer_sqnr_db', {model: this.model}).sort((a, b) => a.value - b.value)[0];
    const before = JSON.stringify(this.live);
    this.live = liveColumns.map(([, , series]) => metrics.all(series, {model: this.model}));
    this.details.hidden = model.generation === undefined;
    say(this.summary, 'Layers' + (sqnr ? `: the worst is ${tail(sqnr.labels.layer, 48)}, ${decibels(sqnr.value)}` : ''));
    if (this.generation !== model.generation) {
      this.generation = model.generation;
      this.loaded = undefined;
    }
    this.load();
    if (this.details.open && this.loaded !== undefined && before !== JSON.stringify(this.live))
      this.draw();
  }
  async load()
  {
    if (!this.details.open || this.loaded === this.generation || this.isLoading)
      return;
    this.isLoading = true;
    const generation = this.generation;
    try {
      const answer = await ask(`models/${encodeURIComponent(this.model)}/layers`);
      this.loaded = answer.ok ? generation : undefined;
      this.tools.hidden = !answer.ok;
      this.layers = answer.ok ? answer.body.layers.filter(l => l.op !== '-') : [];
      this.layers.forEach((l, i) => { l.number = i + 1; });
      this.explain(answer);
      this.draw();
    } catch (error) {
      say(this.text, 'The report did not come; the next refresh asks again.');
    }
    this.isLoading = false;
  }
  explain(answer)
  {
    const floats = this.layers.filter(l => l.why_fp32).map(l => `${l.name} (${l.why_fp32})`);
    say(this.text,
        !answer.ok ? answer.error :
                     'SQNR: the int8 network against fp32 at this output. Alone: rounding this output and nothing else. ' +
                         'Sensitivity: KL of the network\u2019s output with this layer alone in int8. A layer that hurts ' +
                         'stays in fp32 by "layers": {"NAME": {"precision": "fp32"}} in model.json.' +
                         (floats.length ? ` In fp32 now: ${floats.join(', ')}.` : ''));
  }
  sorted()
  {
    const [, , key, largest] = layerColumns[this.order];
    return [...this.layers].sort((a, b) => {
      const x = key(a), y = key(b);
      return known(x) && known(y) ? (x - y) * (largest ? -1 : 1) || a.number - b.number
                                  : known(y) - known(x) || a.number - b.number;
    });
  }
  draw()
  {
    for (const l of this.layers)
      liveColumns.forEach(([, key], i) => {
        const now = this.live[i].find(s => s.labels.layer === l.tensor || s.labels.layer === l.name);
        l[key] = now && now.value;
      });
    const absent = liveColumns.filter((c, i) => !this.live[i].length).map(c => c[0]);
    const shown = layerColumns.map((c, i) => [c, i]).filter(([, i]) => !absent.includes(i));
    const most = Math.max(...this.layers.map(l => l.cumulative_sqnr_db).filter(known), 1);
    const list = this.sorted().slice(0, this.isLong ? undefined : firstLayers);
    const cell = (l, [, text], i) => {
      if (i === 1)
        return make('th', {scope: 'row', class: 'text', title: l.name + (l.why_fp32 ? '\nin fp32: ' + l.why_fp32 : '')}, text(l));
      return make('td', {class: isText(i) ? 'text' : ''},
                  ...(i === bySqnr && known(l.cumulative_sqnr_db) ? [bar(l.cumulative_sqnr_db / most)] : []), text(l));
    };
    const sort = i => i !== this.order ? {} : {'aria-sort': layerColumns[i][3] ? 'descending' : 'ascending'};
    this.table.replaceChildren(
        make('thead', {}, make('tr', {}, ...shown.map(([[title], i]) => make('th', {
                                             scope: 'col', class: isText(i) ? 'text' : '', ...sort(i)}, title)))),
        make('tbody', {}, ...list.map(l => make('tr', {}, ...shown.map(([c, i]) => cell(l, c, i))))));
    this.more.hidden = this.layers.length <= firstLayers;
    say(this.more, this.isLong ? `Show ${firstLayers}` : `Show all ${this.layers.length}`);
  }
}
