// Encoded pictures of consecutive ticks, few of them decoded: a decoded one takes a hundred times the room.

const MOST_DECODED = 16;
const AHEAD = 4;

export class Clip {
  /** @param {ArrayBuffer} film a mark, the number of pictures, their lengths, the pictures */
  constructor(film) {
    const count = new DataView(film).getUint32(4, true);
    const lengths = new DataView(film, 8, 4 * count);
    this.files = [];
    /** @type {Map<number, Promise<ImageBitmap>>} by index, the one asked for last at the end */
    this.decoded = new Map();
    let at = 8 + 4 * count;
    for (let index = 0; index < count; index++) {
      const end = at + lengths.getUint32(4 * index, true);
      this.files.push(new Blob([film.slice(at, end)], { type: "image/jpeg" }));
      at = end;
    }
  }

  get length() {
    return this.files.length;
  }

  /** A picture, while those after it are being decoded. @param {number} index @returns {Promise<ImageBitmap>} */
  picture(index) {
    for (let next = Math.min(index + AHEAD, this.length - 1); next > index; next--) this.decode(next);
    return this.decode(index);
  }

  decode(index) {
    const made = this.decoded.get(index) ?? createImageBitmap(this.files[index]);
    this.decoded.delete(index);
    this.decoded.set(index, made);
    made.catch(() => this.decoded.delete(index));
    if (this.decoded.size > MOST_DECODED) this.forget(this.decoded.keys().next().value);
    return made;
  }

  /** Free a decoded picture; who awaits it already gets it first. */
  forget(index) {
    this.decoded.get(index)?.then((bitmap) => bitmap.close(), () => {});
    this.decoded.delete(index);
  }

  close() {
    for (const index of [...this.decoded.keys()]) this.forget(index);
  }
}
