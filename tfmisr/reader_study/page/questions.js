// The questions beside the images: radio buttons, which are accessible to keyboards and screen readers.

const CHOICES = [
  ["left", "Left"],
  ["none", "No preference"],
  ["right", "Right"],
];

export class Questions {
  constructor(form, onchange) {
    Object.assign(this, {form, onchange, sets: []});
    form.addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("resize", () => this.sets.length && this.current.scrollIntoView({block: "nearest"}));
    form.addEventListener("focusin", () => this.mark());
    form.addEventListener("change", () => this.changed());
  }

  ask(questions, given = {}) {
    this.sets = questions.map((question) => fieldset(question, given[question.key]));
    this.form.replaceChildren(...this.sets);
    this.focus(this.missing ?? this.sets[0]);
  }

  changed() {
    this.mark();
    this.onchange();
  }

  focus(set) {
    set.scrollIntoView({block: "nearest"});
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

  // Selects the option with this number for the current question, and moves to the next question.
  press(number) {
    const set = this.current;
    const input = set.querySelectorAll("input")[number - 1];
    if (!input) return false;
    input.checked = true;
    this.focus(this.sets[this.sets.indexOf(set) + 1] ?? this.missing ?? set);
    this.changed();
    return true;
  }

  // Clears the answer of the current question, else the last answer. Returns whether there was one.
  clear() {
    const answered = this.sets.filter((set) => set.querySelector("input:checked"));
    const set = answered.includes(this.current) ? this.current : answered.at(-1);
    if (!set) return false;
    set.querySelector("input:checked").checked = false;
    this.focus(set);
    this.changed();
    return true;
  }
}

function fieldset({key, text, anchors}, given) {
  const set = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = text;
  set.append(legend);
  const options = anchors ? anchors.map((anchor, i) => [String(i + 1), anchor]) : CHOICES;
  options.forEach(([value, caption], i) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {type: "radio", name: key, value});
    if (anchors) input.dataset.number = "yes";
    input.checked = String(given) === value;
    const number = document.createElement("kbd");
    number.textContent = String(i + 1);
    const words = document.createElement("span");
    words.textContent = caption;
    label.append(input, number, words);
    set.append(label);
  });
  return set;
}
