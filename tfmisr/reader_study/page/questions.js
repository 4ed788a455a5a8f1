// The questions beside the images: radio buttons, so that keyboards and screen readers know them.

const CHOICES = [
  ["left", "Left"],
  ["none", "No preference"],
  ["right", "Right"],
];

export class Questions {
  constructor(form) {
    this.form = form;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("focusin", () => this.mark());
    form.addEventListener("change", () => this.mark());
  }

  ask(questions, given = {}) {
    this.sets = questions.map((question) => fieldset(question, given[question.key]));
    this.form.replaceChildren(...this.sets);
    this.focus(this.sets[0]);
  }

  focus(set) {
    (set.querySelector("input:checked") ?? set.querySelector("input")).focus({focusVisible: true});
    this.mark();
  }

  get current() {
    return this.sets.find((set) => set.contains(document.activeElement)) ?? this.missing ?? this.sets[0];
  }

  get missing() {
    return this.sets.find((set) => !set.querySelector("input:checked"));
  }

  get answers() {
    const checked = this.sets.map((set) => set.querySelector("input:checked")).filter(Boolean);
    return Object.fromEntries(checked.map((input) => [input.name, input.dataset.number ? +input.value : input.value]));
  }

  mark() {
    for (const set of this.sets) set.classList.toggle("current", set === this.current);
  }

  // Answers the marked question with its option of that number, and goes on to the next one.
  press(number) {
    const set = this.current;
    const input = set.querySelectorAll("input")[number - 1];
    if (!input) return false;
    input.checked = true;
    this.focus(this.sets[this.sets.indexOf(set) + 1] ?? this.missing ?? set);
    return true;
  }

  // Takes an answer away: that of the marked question, else the last one. Returns whether there was one.
  clear() {
    const answered = this.sets.filter((set) => set.querySelector("input:checked"));
    const set = answered.includes(this.current) ? this.current : answered.at(-1);
    if (!set) return false;
    set.querySelector("input:checked").checked = false;
    this.focus(set);
    return true;
  }
}

function fieldset({key, text, anchors}, given) {
  const set = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = text;
  set.append(legend);
  const options = anchors ? anchors.map((anchor, i) => [String(i + 1), anchor]) : CHOICES;
  options.forEach(([value, said], i) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {type: "radio", name: key, value});
    if (anchors) input.dataset.number = "yes";
    input.checked = String(given) === value;
    const number = document.createElement("kbd");
    number.textContent = String(i + 1);
    const words = document.createElement("span");
    words.textContent = said;
    label.append(input, number, words);
    set.append(label);
  });
  return set;
}
