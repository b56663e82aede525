// A picture by @saintno/comfyui-sdk, as its README shows it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { CallWrapper, ComfyApi, PromptBuilder } from "@saintno/comfyui-sdk";

const [address, path] = process.argv.slice(2);
const api = await new ComfyApi(address, "ebb-sdk-test").init().waitForReady();

const workflow = new PromptBuilder(JSON.parse(await readFile(path, "utf8")), ["text", "seed", "steps"], ["images"])
  .setInputNode("text", "6.inputs.text")
  .setInputNode("seed", "3.inputs.seed")
  .setInputNode("steps", "3.inputs.steps")
  .setOutputNode("images", "9")
  .input("text", "a yellow star")
  .input("seed", 7)
  .input("steps", 4);

const steps = [];
const result = await new CallWrapper(api, workflow)
  .onProgress((progress) => steps.push(progress.value))
  .onFailed((error) => {
    throw error;
  })
  .run();
assert.ok(result, "the job did not succeed");
const [image] = result.images.images;
const data = Buffer.from(await (await api.getImage(image)).arrayBuffer());
assert.equal(data.subarray(1, 4).toString(), "PNG");
assert.deepEqual([data.readUInt32BE(16), data.readUInt32BE(20)], [128, 128]);
assert.ok(steps.length >= 4, `progress was reported ${steps.length} times`);
console.log(`JavaScript: ${image.filename}, 128x128, progress ${steps.join(" ")}`);
process.exit(0);
