/* A picture of the user's own, through /infer. */
let chosen = null, asked = 0, previewUrl = '';

function classesOf(top)
{
  const scores = top.map(t => t.score).filter(known), most = Math.max(...scores, 1e-30);
  const isShare = most <= 1 && scores.every(s => s >= 0);
  return make('ol', {class: 'classes'}, ...top.map(t => make(
      'li', {}, make('span', {}, t.label === undefined ? 'class ' + t.class : `${t.label} (class ${t.class})`),
      make('span', {}, isShare ? percent(t.score, 1) : short(t.score)), bar(isShare ? t.score : t.score / most))));
}

/* The parts of the page that say what came. */
function answerOf(answer, seconds)
{
  if (!answer.ok)
    return [make('p', {class: 'bad'}, `${answer.status}: ${answer.error}`)];
  const body = answer.body, result = (body.results || [])[0] || {}, t = body.timing_us || {};
  const timing = ['queue', 'decode', 'compute'].filter(key => known(t[key])).map(key => `${key} ${took(t[key] / 1e6)}`);
  const what = result.top   ? classesOf(result.top)
      : result.error ? make('p', {class: 'bad'}, result.error)
                     : make('pre', {tabindex: 0}, JSON.stringify(result, null, 1));
  return [
    what,
    make('p', {class: 'note'}, `${body.model}, version ${body.version}, generation ${body.generation}. ` +
                                   `${timing.join(', ')}; there and back ${took(seconds)}.`)
  ];
}

async function classify()
{
  const model = byId('try-model').value, number = ++asked, answer = byId('answer');
  if (!chosen)
    return;
  const path = 'infer' + (model ? '?model=' + encodeURIComponent(model) : '');
  answer.replaceChildren(make('p', {class: 'note'}, 'Sent.'));
  const begin = performance.now();
  let parts;
  try {
    const options = {method: 'POST', headers: {'Content-Type': chosen.type || 'image/jpeg'}, body: chosen};
    parts = answerOf(await ask(path, {...options, signal: AbortSignal.timeout(60000)}), (performance.now() - begin) / 1000);
  } catch (error) {
    parts = [make('p', {class: 'bad'}, 'There was no answer: ' + error.message)];
  }
  if (number === asked)
    answer.replaceChildren(...parts);
}

function choose(file)
{
  if (!file)
    return;
  chosen = file;
  if (previewUrl)
    URL.revokeObjectURL(previewUrl);
  previewUrl = URL.createObjectURL(file);
  byId('preview').src = previewUrl;
  byId('preview').alt = 'The picture: ' + file.name;
  byId('preview').hidden = false;
  classify();
}

/* Those that can answer, with the choice kept. */
function updateChoice(names)
{
  const select = byId('try-model'), old = select.value;
  if (names.length && names.join('\n') === [...select.options].map(o => o.value).join('\n'))
    return;
  select.replaceChildren(...names.map(name => make('option', {value: name}, name)));
  byId('try-none').hidden = names.length > 0;
  if (names.includes(old))
    select.value = old;
}

byId('file').addEventListener('change', event => choose(event.target.files[0]));
byId('try-model').addEventListener('change', classify);
byId('preview').addEventListener('error', () => { byId('preview').hidden = true; });
for (const name of ['dragenter', 'dragover', 'dragleave', 'drop'])
  byId('drop').addEventListener(name, event => {
    event.preventDefault();
    byId('drop').className = name === 'dragenter' || name === 'dragover' ? 'over' : '';
    if (name === 'drop')
      choose(event.dataTransfer.files[0]);
  });
/* Beside the frame a browser would leave the page for the picture. */
for (const name of ['dragover', 'drop'])
  addEventListener(name, event => event.preventDefault());
