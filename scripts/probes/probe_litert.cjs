// Child of make_op_tables.py: compile models one by one in LiteRT.js' WebAssembly, under Node.
// The build without relaxed SIMD ("compat"): the same runtime, and Node 20 knows its instructions.
//
// Usage: node probe_litert.cjs PACKAGE MODELS.json START CAPTURE
const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');

const [folder, models, start] = process.argv.slice(2);
const script = path.join(folder, 'wasm', 'litert_wasm_compat_internal.js');

// The package calls itself an ES module, this file of it is CommonJS.
function commonJs(file) {
  const made = new Module(file);
  made.filename = file;
  made.paths = [];
  made._compile(fs.readFileSync(file, 'utf8'), file);
  return made.exports;
}

async function main() {
  let said = [];
  const say = (text) => said.push(text);
  const wasm = await commonJs(script)({print: say, printErr: say});
  const environment = wasm.LiteRtEnvironment.create(null);
  const options = {
    environment, accelerator: 'wasm', cpuOptions: {numThreads: 1}, gpuOptions: {}, webNNOptions: {},
  };
  const listed = JSON.parse(fs.readFileSync(models, 'utf8'));
  for (let i = Number(start); i < listed.length; i++) {
    said = [];
    let dead = false;
    const data = Buffer.from(listed[i], 'base64');
    const pointer = wasm._malloc(data.length);
    wasm.HEAPU8.set(data, pointer);
    try {
      const model = wasm.loadModel(environment, pointer, data.length);
      const compiled = await wasm.compileModel(environment, model, options);
      compiled.delete();
      model.delete();
      said.push('ok');
    } catch (error) {
      dead = error instanceof WebAssembly.RuntimeError;
      said.push(`${error?.name}: ${error?.message ?? error}`);
    }
    fs.writeSync(1, `@ ${JSON.stringify([i, said.join('\n')])}\n`);
    // After a trap the memory of the module is not to be trusted.
    if (dead) process.exit(70);
    wasm._free(pointer);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
