// The peer of the thumbnails: sharp, one decode, then each size from the one before.
// node thumbnails.mjs MODULES REPETITIONS FOLDER PHOTO... prints CPU milliseconds a photo.
import { createRequire } from "node:module";
import { basename, join } from "node:path";

const [modules, repetitions, folder, ...photos] = process.argv.slice(2);
const sharp = createRequire(join(modules, "package.json"))("sharp");
sharp.cache(false);
sharp.concurrency(1);

async function cascade(photo) {
  let { data, info } = await sharp(photo)
    .rotate()
    .resize(1280, 1280, { fit: "inside" })
    .raw()
    .toBuffer({ resolveWithObject: true });
  for (const side of [1280, 640, 256]) {
    const raw = { width: info.width, height: info.height, channels: info.channels };
    if (side < 1280) {
      ({ data, info } = await sharp(data, { raw })
        .resize(side, side, { fit: "inside" })
        .raw()
        .toBuffer({ resolveWithObject: true }));
    }
    const made = { width: info.width, height: info.height, channels: info.channels };
    const name = `${basename(photo, ".jpg")}-${side}.jpg`;
    await sharp(data, { raw: made }).jpeg({ quality: 80 }).toFile(join(folder, name));
  }
}

await cascade(photos[0]);
const before = process.cpuUsage();
for (let turn = 0; turn < Number(repetitions); turn += 1) {
  for (const photo of photos) await cascade(photo);
}
const { user, system } = process.cpuUsage(before);
console.log((user + system) / 1000 / Number(repetitions) / photos.length);
