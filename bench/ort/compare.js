// node compare.js MODEL.onnx DUMP-FOLDER N C H W [AGREEMENT]: ONNX Runtime's outputs against quantd's on the same tensors.
// Passes where they are equal to 0.1 %; with AGREEMENT (int8 on both sides), where that share of classes is the same.
const ort = require('onnxruntime-node');
const fs = require('fs');

// Where the first of the largest numbers stands.
const largestAt = (x) => x.reduce((best, v, i) => (v > x[best] ? i : best), 0);

async function main() {
  const [file, folder, n, c, h, w, agreement] = process.argv.slice(2);
  const session = await ort.InferenceSession.create(file);
  const floats = (path) => {
    const bytes = fs.readFileSync(path);
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  };
  let absolute = 0, most = 0, same = 0;
  for (let i = 0; i < Number(n); i++) {
    const input = new ort.Tensor('float32', floats(`${folder}/${i}.in`), [1, Number(c), Number(h), Number(w)]);
    const result = await session.run({ [session.inputNames[0]]: input });
    const theirs = result[session.outputNames[0]].data, ours = floats(`${folder}/${i}.out`);
    for (let j = 0; j < theirs.length; j++) {
      most = Math.max(most, Math.abs(theirs[j]));
      absolute = Math.max(absolute, Math.abs(theirs[j] - ours[j]));
    }
    same += largestAt(theirs) === largestAt(ours);
  }
  const relative = absolute / most; // the largest output of all pictures: one may show nothing but zeros
  console.log(`${n} pictures: largest difference ${absolute.toExponential(2)}, of the largest output ` +
              `${relative.toExponential(2)}; same class ${same}`);
  process.exit((agreement ? same >= agreement * n : relative < 1e-3) ? 0 : 1);
}
main();
