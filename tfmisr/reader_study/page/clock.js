// Reading time of a trial, and its idle time: page hidden, window without focus, or no input for a minute.

const IDLE_AFTER = 60000; // ms without a key, a click or a movement

export class Clock {
  constructor() {
    for (const name of ["keydown", "pointerdown", "pointermove", "wheel"]) {
      document.addEventListener(name, () => this.touch(name !== "pointermove"), {capture: true, passive: true});
    }
    document.addEventListener("visibilitychange", () => this.touch(false));
    window.addEventListener("blur", () => this.touch(false));
    window.addEventListener("focus", () => this.touch(false));
    this.start();
  }

  // Starts at zero, or continues the times that `snapshot` returned, whose elapsed time may include an absence since.
  start(kept = null) {
    this.last = performance.now();
    this.startedAt = this.last - (kept?.elapsed_ms ?? 0);
    this.active = kept?.active_ms ?? 0;
    this.first = typeof kept?.first_ms === "number" ? this.startedAt + kept.first_ms : null;
    this.present = !document.hidden && document.hasFocus();
  }

  touch(input) {
    const now = performance.now();
    if (this.present) this.active += Math.min(now - this.last, IDLE_AFTER);
    this.last = now;
    if (input) this.first ??= now;
    this.present = !document.hidden && document.hasFocus();
  }

  // Returns the times up to now. Not by `touch`: the reader has done nothing, and the minute without input goes on.
  snapshot() {
    const now = performance.now();
    const active = this.active + (this.present ? Math.min(now - this.last, IDLE_AFTER) : 0);
    const first = this.first === null ? null : this.first - this.startedAt;
    return {elapsed_ms: now - this.startedAt, active_ms: active, first_ms: first};
  }

  read() {
    this.touch(false);
    const elapsed = this.last - this.startedAt;
    return {
      elapsed_ms: elapsed,
      first_input_ms: Math.min(elapsed, (this.first ?? this.last) - this.startedAt),
      idle_ms: Math.min(elapsed, Math.max(0, elapsed - this.active)),
    };
  }
}
