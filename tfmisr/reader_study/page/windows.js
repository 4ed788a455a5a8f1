// The controls of the window: a choice of windows, and fields for its center and width.

const shortened = (value) => String(+value.toFixed(Math.abs(value) < 100 ? 2 : 0));

export class Windows {
  constructor(holder, viewer, onmistake) {
    Object.assign(this, {viewer, onmistake, windows: []});
    [this.choice, this.center, this.width] = holder.querySelectorAll("select, input");
    this.choice.addEventListener("change", () => this.choose(this.choice.selectedIndex));
    for (const field of [this.center, this.width]) field.addEventListener("change", () => this.typed());
  }

  // Offers the windows of an image; for `shown` see Presentation in tfmisr/reader_study/frozen.py.
  offer(shown) {
    this.windows = [{name: "initial", ...shown.window}, ...(shown.presets ?? [])];
    const options = this.windows.map(({name}) => Object.assign(document.createElement("option"), {textContent: name}));
    this.choice.replaceChildren(...options);
    this.update();
  }

  choose(number) {
    const {center, width} = this.windows[number];
    this.viewer.setWindow(center, width);
  }

  next() {
    this.choose((this.choice.selectedIndex + 1) % this.windows.length);
  }

  has(element) {
    return element === this.center || element === this.width;
  }

  typed() {
    const [center, width] = [this.center, this.width].map((field) => Number(field.value.trim().replace(",", ".") || NaN));
    const possible = Math.abs(center) < 1e9 && width > 0 && width < 1e9;
    if (possible) this.viewer.setWindow(center, width);
    else this.onmistake("The window needs two numbers, the width above 0.");
    this.update(true);
  }

  // Shows the viewer's window; a field that is being typed into keeps its text unless `all`.
  update(all = false) {
    const {center, width} = this.viewer.window;
    this.choice.selectedIndex = this.windows.findIndex((window) => window.center === center && window.width === width);
    if (all || document.activeElement !== this.center) this.center.value = shortened(center);
    if (all || document.activeElement !== this.width) this.width.value = shortened(width);
  }
}
