// node speed.js QUANTD MODEL QDQ.onnx [--batch N] [--threads N] [--rounds N] [--isa NAME] [--cache DIR] [--json]
// One model four ways, in turn: quantd int8 and fp32, ONNX Runtime int8 (the QDQ file that quantd exports) and fp32 (the
// original file). Prints ms per image, best and median, and the ratios of theirs to ours.
const ort = require('onnxruntime-node');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');

const REPEATS = 15;

function readOptions(argv) {
  const options = { batch: 1, threads: 2, rounds: 3, isa: '', cache: '', json: false }, rest = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--json') options.json = true;
    else if (argv[i].startsWith('--')) options[argv[i].slice(2)] = argv[++i];
    else rest.push(argv[i]);
  }
  [options.quantd, options.model, options.qdq] = rest;
  for (const name of ['batch', 'threads', 'rounds']) options[name] = Number(options[name]);
  return options;
}

// A model's file: itself, or the highest version of its folder.
function onnxOf(model) {
  if (!fs.statSync(model).isDirectory()) return model;
  const config = path.join(model, 'model.json');
  const named = fs.existsSync(config) && JSON.parse(fs.readFileSync(config)).onnx;
  if (named) return path.join(model, named);
  const versions = fs.readdirSync(model).filter((name) => /^[0-9]+$/.test(name)).map(Number);
  return path.join(model, String(Math.max(...versions)), 'model.onnx');
}

// Noise as normalised pictures have it. Never zeros. A file whose batch is fixed gets that one.
function makeInput(session, batch) {
  const shape = session.inputMetadata[0].shape.map((dim, i) => Number(dim) || (i === 0 ? batch : 224));
  let state = 1;
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 * 4 - 2;
  });
  return { [session.inputNames[0]]: new ort.Tensor('float32', data, shape) };
}

async function openOrt(file, options) {
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ['cpu'], graphOptimizationLevel: 'all', executionMode: 'sequential',
    intraOpNumThreads: options.threads, interOpNumThreads: 1,
  });
  const input = makeInput(session, options.batch);
  const batch = Object.values(input)[0].dims[0];
  return async () => {
    const times = [];
    for (let i = -3; i < REPEATS; i++) {
      const start = process.hrtime.bigint();
      await session.run(input);
      if (i >= 0) times.push(Number(process.hrtime.bigint() - start) / 1e6 / batch);
    }
    return times;
  };
}

function runQuantd(options, precision) {
  const args = ['bench', options.model, '--json', '--precision', precision, '--batch', String(options.batch), '--threads',
                String(options.threads), '--repeats', String(REPEATS)];
  if (options.isa) args.push('--isa', options.isa);
  if (options.cache) args.push('--cache', options.cache);
  const result = spawnSync(options.quantd, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.status !== 0) throw new Error(`quantd bench: ${result.stderr}`);
  const json = JSON.parse(result.stdout);
  options.tier = json.isa;
  return json.ms_per_image;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

async function main() {
  const options = readOptions(process.argv.slice(2));
  const int8 = await openOrt(options.qdq, options);
  let fp32;
  try { // a file that is already quantized may have no fp32
    fp32 = await openOrt(onnxOf(options.model), options);
    await fp32();
  } catch (error) {
    fp32 = null;
  }
  const rounds = { quantd_int8: [], ort_int8: [], quantd_fp32: [], ort_fp32: [] };
  for (let i = 0; i < options.rounds; i++) {
    rounds.quantd_int8.push(runQuantd(options, 'int8'));
    const theirs = await int8();
    rounds.ort_int8.push({ best: Math.min(...theirs), median: median(theirs) });
    rounds.quantd_fp32.push(runQuantd(options, 'fp32'));
    if (!fp32) continue;
    const floats = await fp32();
    rounds.ort_fp32.push({ best: Math.min(...floats), median: median(floats) });
  }
  const result = { model: path.basename(path.resolve(options.model)), batch: options.batch, threads: options.threads,
                   isa: options.tier };
  for (const [name, list] of Object.entries(rounds))
    result[name] = list.length ? { best: Math.min(...list.map((x) => x.best)), median: median(list.map((x) => x.median)) }
                               : null;
  const ratio = (name) => (result[name] ? result[name].best / result.quantd_int8.best : null);
  result.ratios = { ort_int8: ratio('ort_int8'), ort_fp32: ratio('ort_fp32'), quantd_fp32: ratio('quantd_fp32') };
  // fp32 against fp32: of the best times, and the median of the rounds' own ratios.
  result.ratios.fp32 = result.ort_fp32 && result.ort_fp32.best / result.quantd_fp32.best;
  result.ratios.fp32_rounds = result.ort_fp32 && median(rounds.ort_fp32.map((x, i) => x.best / rounds.quantd_fp32[i].best));
  if (options.json) {
    console.log(JSON.stringify(result));
    return;
  }
  const show = (x) => (x ? `${x.best.toFixed(2)} (${x.median.toFixed(2)})` : '-');
  const times = (x) => (x ? x.toFixed(2) : '-');
  console.log(`| ${result.model} | ${options.batch} | ${show(result.quantd_int8)} | ${show(result.ort_int8)} | ` +
              `${times(result.ratios.ort_int8)} | ${show(result.quantd_fp32)} | ${show(result.ort_fp32)} | ` +
              `${times(result.ratios.ort_fp32)} | ${times(result.ratios.quantd_fp32)} |`);
}
main().catch((error) => {
  console.error(`speed.js: ${error.message}`);
  process.exit(1);
});
