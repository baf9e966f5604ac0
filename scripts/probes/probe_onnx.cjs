// Child of make_op_tables.py: load models one by one in onnxruntime-node, for the releases that
// have no wheel for Python 3.11.
//
// Usage: node probe_onnx.cjs PACKAGE MODELS.json START CAPTURE
const fs = require('node:fs');

const [folder, models, start] = process.argv.slice(2);

async function main() {
  const runtime = require(folder);
  const listed = JSON.parse(fs.readFileSync(models, 'utf8'));
  for (let i = Number(start); i < listed.length; i++) {
    let said = 'ok';
    try {
      const data = new Uint8Array(Buffer.from(listed[i], 'base64'));
      await runtime.InferenceSession.create(data, {logSeverityLevel: 4});
    } catch (error) {
      said = String(error);
    }
    fs.writeSync(1, `@ ${JSON.stringify([i, said])}\n`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
