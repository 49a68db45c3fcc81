// node server.js MODEL-FOLDER [FILE.onnx] [--threads N] [--runs N]: what a developer writes with onnxruntime-node and sharp.
// POST a JPEG, get the five best classes as JSON; the preprocessing of model.json (shorter side, crop, scale, mean, std).
// FILE.onnx instead of the folder's own: the int8 QDQ file that 'quantd export --qdq' writes. --runs: sessions run at once,
// of --threads threads each. Prints its port. bench/ort/serving.py compares it with quantd.
const fs = require('fs');
const http = require('http');
const path = require('path');

function readOptions(argv) {
  const options = { threads: 1, runs: 2 }, rest = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i].startsWith('--')) options[argv[i].slice(2)] = Number(argv[++i]);
    else rest.push(argv[i]);
  }
  [options.folder, options.onnx] = rest;
  options.onnx = options.onnx || path.join(options.folder, '1', 'model.onnx');
  return options;
}

const options = readOptions(process.argv.slice(2));
// node runs sharp's and ONNX Runtime's work on this pool: as many at once as there are runs, or they fight for the cores.
process.env.UV_THREADPOOL_SIZE = String(options.runs);
const ort = require('onnxruntime-node');
const sharp = require('sharp');
sharp.concurrency(1);
sharp.cache(false);

const { preprocess } = JSON.parse(fs.readFileSync(path.join(options.folder, 'model.json')));
const [cropH, cropW] = preprocess.crop;
const labels = fs.readFileSync(path.join(options.folder, 'labels.txt'), 'utf8').split('\n');

async function readPicture(jpeg) {
  const { data, info } = await sharp(jpeg)
    .resize({ width: preprocess.size, height: preprocess.size, fit: 'outside', kernel: 'linear' })
    .removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const top = Math.round((info.height - cropH) / 2), left = Math.round((info.width - cropW) / 2);
  const tensor = new Float32Array(3 * cropH * cropW);
  for (let c = 0; c < 3; c++) {
    const from = preprocess.color === 'bgr' ? 2 - c : c;
    const scale = preprocess.scale / preprocess.std[c], offset = preprocess.mean[c] / preprocess.std[c];
    let to = c * cropH * cropW;
    for (let y = 0; y < cropH; y++) {
      let at = ((top + y) * info.width + left) * 3 + from;
      for (let x = 0; x < cropW; x++, at += 3) tensor[to++] = data[at] * scale - offset;
    }
  }
  return new ort.Tensor('float32', tensor, [1, 3, cropH, cropW]);
}

function findTop(scores, k) {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]).slice(0, k);
  return order.map((i) => ({ class: i, label: labels[i], score: scores[i] }));
}

async function answer(session, jpeg) {
  const outputs = await session.run({ [session.inputNames[0]]: await readPicture(jpeg) });
  return { results: [{ top: findTop(outputs[session.outputNames[0]].data, 5) }] };
}

function serve(session) {
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => answer(session, Buffer.concat(parts)).then(
      (result) => [200, result], (error) => [422, { error: error.message }]).then(([status, result]) => {
      const body = JSON.stringify(result);
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
      response.end(body);
    }));
  });
  server.listen(0, '127.0.0.1', () => console.log(`listens on port ${server.address().port}`));
}

ort.InferenceSession.create(options.onnx, {
  executionProviders: ['cpu'], graphOptimizationLevel: 'all', executionMode: 'sequential',
  intraOpNumThreads: options.threads, interOpNumThreads: 1,
}).then(serve, (error) => {
  console.error(`server.js: ${error.message}`);
  process.exit(1);
});
