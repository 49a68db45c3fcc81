// node quantized.js MODEL.onnx DUMP-FOLDER N C H W: a quantized model in ONNX Runtime and in quantd on the same tensors of
// a labelled set (what dump_outputs wrote): top-1 of both, and how often they agree. Passes where top-1 is within half a
// point and 97 % of the classes are the same.
const ort = require('onnxruntime-node');
const fs = require('fs');

function floats(path) {
  const bytes = fs.readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

const best = (scores) => scores.indexOf(Math.max(...scores));

async function main() {
  const [file, folder, n, c, h, w] = process.argv.slice(2);
  const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 });
  const labels = fs.readFileSync(`${folder}/labels`, 'utf8').split('\n').slice(0, Number(n)).map(Number);
  let theirs = 0, ours = 0, same = 0;
  for (let i = 0; i < Number(n); i++) {
    const input = new ort.Tensor('float32', floats(`${folder}/${i}.in`), [1, Number(c), Number(h), Number(w)]);
    const result = await session.run({ [session.inputNames[0]]: input });
    const a = best(result[session.outputNames[0]].data), b = best(floats(`${folder}/${i}.out`));
    theirs += a === labels[i];
    ours += b === labels[i];
    same += a === b;
  }
  const percent = (count) => `${(100 * count / n).toFixed(2)} %`;
  console.log(`${n} pictures: top-1 of ONNX Runtime ${percent(theirs)}, of quantd ${percent(ours)}; ` +
              `the same class ${percent(same)}`);
  process.exit(Math.abs(theirs - ours) <= 0.005 * n && same >= 0.97 * n ? 0 : 1);
}
main();
