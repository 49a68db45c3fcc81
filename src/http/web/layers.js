/* Which layer hurts: /models/NAME/layers as a table, worst first. */
const firstLayers = 12;

/*
 * title, text of a cell; key to sort by (none: not in the list of orders), isDescending: the largest comes first. Of a live
 * column the layers' field and the series that fills it: it is there only while that is measured.
 */
const layerColumns = [
  {title: '#', text: l => String(l.number), key: l => l.number, order: 'order of running'},
  {title: 'layer', text: l => tail(l.name, 34), isText: true, isName: true},
  {title: 'SQNR, dB', text: l => fixed(l.cumulative_sqnr_db, 1), key: l => l.cumulative_sqnr_db, hasBar: true},
  {title: 'alone', text: l => fixed(l.sqnr_db, 1)},
  {title: 'sensitivity, nats', text: l => short(l.sensitivity_kl), key: l => l.sensitivity_kl, isDescending: true},
  {title: 'runs in', text: l => l.precision, isText: true},
  {title: 'clipped', text: l => percent(l.clip_ratio, 3), key: l => l.clip_ratio, isDescending: true},
  {title: 'clipped now', text: l => percent(l.saturation, 3), key: l => l.saturation, isDescending: true,
   field: 'saturation', series: 'quantd_layer_saturation_ratio'},
  {title: 'drift now', text: l => short(l.drift), key: l => l.drift, isDescending: true,
   field: 'drift', series: 'quantd_layer_drift'},
  {title: 'operator', text: l => l.op, isText: true},
  {title: 'M\u00a0MACs', text: l => l.macs ? (l.macs / 1e6).toFixed(2) : none},
];
const liveColumns = layerColumns.filter(c => c.series), sortColumns = layerColumns.filter(c => c.key);
const worstFirst = layerColumns.find(c => c.hasBar);

class Layers {
  constructor(model)
  {
    this.model = model;
    this.order = worstFirst;
    this.isLong = false;
    this.layers = [];
    this.live = liveColumns.map(() => []);
    this.summary = make('summary', {}, 'Layers');
    this.text = make('p', {class: 'note'}, 'One moment.');
    this.select = make('select', {name: 'order'}, ...sortColumns.map(c => make('option', {}, c.order || c.title)));
    this.select.selectedIndex = sortColumns.indexOf(worstFirst);
    this.more = make('button', {type: 'button'});
    this.table = make('table');
    this.tools = make('div', {class: 'tools', hidden: ''}, make('label', {}, 'Sort by ', this.select), this.more);
    this.details = make('details', {}, this.summary, this.text, this.tools,
                        make('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Layers of ' + model},
                             this.table));
    this.select.addEventListener('change', () => {
      this.order = sortColumns[this.select.selectedIndex];
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
    this.live = liveColumns.map(c => metrics.all(c.series, {model: this.model}));
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
    const {key, isDescending} = this.order;
    return [...this.layers].sort((a, b) => {
      const x = key(a), y = key(b);
      return known(x) && known(y) ? (x - y) * (isDescending ? -1 : 1) || a.number - b.number
                                  : known(y) - known(x) || a.number - b.number;
    });
  }
  draw()
  {
    for (const l of this.layers)
      liveColumns.forEach((c, i) => {
        const now = this.live[i].find(s => s.labels.layer === l.tensor || s.labels.layer === l.name);
        l[c.field] = now && now.value;
      });
    const shown = layerColumns.filter(c => !c.series || this.live[liveColumns.indexOf(c)].length);
    const most = Math.max(...this.layers.map(l => l.cumulative_sqnr_db).filter(known), 1);
    const list = this.sorted().slice(0, this.isLong ? undefined : firstLayers);
    const cell = (l, c) => {
      if (c.isName)
        return make('th', {scope: 'row', class: 'text', title: l.name + (l.why_fp32 ? '\nin fp32: ' + l.why_fp32 : '')}, c.text(l));
      return make('td', {class: c.isText ? 'text' : ''},
                  ...(c.hasBar && known(c.key(l)) ? [bar(c.key(l) / most)] : []), c.text(l));
    };
    const sort = c => c !== this.order ? {} : {'aria-sort': c.isDescending ? 'descending' : 'ascending'};
    this.table.replaceChildren(
        make('thead', {}, make('tr', {}, ...shown.map(c => make('th', {scope: 'col', class: c.isText ? 'text' : '', ...sort(c)},
                                                                c.title)))),
        make('tbody', {}, ...list.map(l => make('tr', {}, ...shown.map(c => cell(l, c))))));
    this.more.hidden = this.layers.length <= firstLayers;
    say(this.more, this.isLong ? `Show ${firstLayers}` : `Show all ${this.layers.length}`);
  }
}
