/* Prometheus's text, and what follows from two looks at it. */
const keptSeconds = 600, rateSeconds = 15, windowSeconds = 60;

function labelsOf(text)
{
  const labels = {};
  for (const [, name, value] of text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g))
    labels[name] = value.replace(/\\(.)/g, (_, c) => c === 'n' ? '\n' : c);
  return labels;
}

class Metrics {
  constructor(text)
  {
    this.series = new Map();
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (!match)
        continue;
      if (!this.series.has(match[1]))
        this.series.set(match[1], []);
      this.series.get(match[1]).push({labels: labelsOf(match[2] || ''), value: Number(match[3])});
    }
  }
  all(name, labels)
  {
    const wanted = Object.entries(labels || {});
    return (this.series.get(name) || []).filter(s => wanted.every(([key, value]) => s.labels[key] === value));
  }
  /* undefined where there is no such series: some are there only while there is something to say. */
  one(name, labels)
  {
    const found = this.all(name, labels)[0];
    return found && known(found.value) ? found.value : undefined;
  }
  sum(name, labels)
  {
    return this.all(name, labels).reduce((sum, s) => sum + s.value, 0);
  }
}

/* What a model's rates are made of. */
function sampleOf(metrics, model, at)
{
  const bounds = metrics.all('quantd_request_seconds_bucket', {model});
  return {
    at,
    requests: metrics.sum('quantd_requests_total', {model}),
    images: metrics.sum('quantd_images_total', {model}),
    pictures: metrics.sum('quantd_batch_size_sum', {model}),
    batches: metrics.sum('quantd_batch_size_count', {model}),
    latency: bounds.map(s => [s.labels.le === '+Inf' ? Infinity : Number(s.labels.le), s.value]),
  };
}

/* Of counts up to each bound: linear within the bucket that holds it, as histogram_quantile of Prometheus. */
function quantile(buckets, share)
{
  const total = buckets.length ? buckets[buckets.length - 1][1] : 0;
  if (!total)
    return undefined;
  const rank = share * total, i = buckets.findIndex(b => b[1] >= rank);
  const [low, before] = i ? buckets[i - 1] : [0, 0], [high, upTo] = buckets[i];
  return high === Infinity ? low : low + (high - low) * (rank - before) / (upTo - before || 1);
}

const less = (later, earlier) => later.latency.map(([le, n], i) => [le, n - (earlier ? earlier.latency[i][1] : 0)]);

/* A model's last minutes. */
class Minutes {
  constructor()
  {
    this.samples = [];
  }
  add(sample)
  {
    const last = this.samples[this.samples.length - 1];
    if (last && (sample.requests < last.requests || sample.images < last.images ||
                 sample.latency.length !== last.latency.length))
      this.samples = []; /* another life of the server */
    this.samples.push(sample);
    while (this.samples[0].at < sample.at - keptSeconds)
      this.samples.shift();
  }
  get last()
  {
    return this.samples[this.samples.length - 1];
  }
  /* The sample from about that many seconds ago, or what comes nearest. */
  before(seconds)
  {
    return this.samples.find(s => s.at >= this.last.at - seconds - 1);
  }
  rate(key, seconds = rateSeconds)
  {
    const from = this.last && this.before(seconds), passed = from ? this.last.at - from.at : 0;
    return passed > 0 ? (this.last[key] - from[key]) / passed : undefined;
  }
  /* Of the last minute where it had requests, else of all since the start. */
  latency(share)
  {
    const recent = this.last && less(this.last, this.before(windowSeconds));
    const hasSome = recent && recent.length && recent[recent.length - 1][1] > 0;
    return {value: this.last && quantile(hasSome ? recent : this.last.latency, share), isRecent: hasSome};
  }
  batch()
  {
    const from = this.last && this.before(windowSeconds), batches = from ? this.last.batches - from.batches : 0;
    return batches > 0     ? (this.last.pictures - from.pictures) / batches
        : this.last && this.last.batches ? this.last.pictures / this.last.batches
                                         : undefined;
  }
  /* [time, value] between each two samples. */
  line(valueOf)
  {
    return this.samples.slice(1).map((s, i) => [s.at, valueOf(s, this.samples[i])]);
  }
}

const picturesLine = history => history.line((s, p) => (s.images - p.images) / (s.at - p.at));
const latencyLine = history => history.line((s, p) => quantile(less(s, p), 0.99));

/* A line of the last minutes with its largest value; gaps where nothing was. */
class Spark {
  constructor(title, format, color)
  {
    this.title = title;
    this.format = format;
    this.most = make('span');
    this.path = make('path', {fill: 'none', stroke: `var(${color})`, 'stroke-width': 1.5, 'vector-effect': 'non-scaling-stroke',
                              'stroke-linejoin': 'round', 'stroke-linecap': 'round'});
    this.svg = make('svg', {viewBox: '0 0 300 34', preserveAspectRatio: 'none', role: 'img'}, this.path);
    this.figure = make('figure', {}, make('figcaption', {}, make('span', {}, title), this.most), this.svg);
  }
  draw(points, now)
  {
    const values = points.map(p => p[1]).filter(known), most = Math.max(...values, 0);
    const span = Math.max(60, points.length ? now - points[0][0] : 0);
    let d = '', pen = 'M';
    for (const [at, value] of points) {
      if (!known(value)) {
        pen = 'M';
        continue;
      }
      const x = 300 - (now - at) / span * 300, y = 32 - (most ? value / most : 0) * 30;
      if (pen === 'M')
        d += `M${(x - 3).toFixed(1)} ${y.toFixed(1)}`; /* a point that stands alone is seen, too */
      d += `L${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = 'L';
    }
    this.path.setAttribute('d', d || 'M0 0');
    const text = most ? `at most ${this.format(most)} in ${lasted(Math.round(span))}` : 'none yet';
    say(this.most, text);
    this.svg.setAttribute('aria-label', `${this.title}, ${text}`);
  }
}
