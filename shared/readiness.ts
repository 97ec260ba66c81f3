/** What `/readyz` answers: the conditions a service waits for, each with the reason why it does not hold. */
export class Readiness {
  readonly #reasons = new Map<string, string>();

  /** @param waitingFor conditions that do not hold yet, with their reasons */
  constructor(waitingFor: Readonly<Record<string, string>> = {}) {
    for (const [condition, reason] of Object.entries(waitingFor)) this.#reasons.set(condition, reason);
  }

  holds(condition: string): void {
    this.#reasons.delete(condition);
  }

  /** @param reason one line, without values: `oneLine(error)` is one */
  fails(condition: string, reason: string): void {
    this.#reasons.set(condition, reason);
  }

  /** `condition: reason`, one line each; empty when ready. */
  reasons(): readonly string[] {
    return [...this.#reasons].map(([condition, reason]) => `${condition}: ${reason.replaceAll(/\s+/g, ' ')}`);
  }
}
