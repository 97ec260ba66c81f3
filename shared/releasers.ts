/** What is acquired is released last-in first-out, past failures (after graphile/worker's `withReleasers`). */

export type Release = () => unknown;

export interface Releasers {
  /** @param name for the message when it fails */
  add(name: string, release: Release): void;
}

/** Something acquired could not be let go. */
export class ReleaseError extends AggregateError {
  override readonly name = 'ReleaseError';
  /** What could not be released, in the order it was tried. */
  readonly failed: readonly string[];
  constructor(failed: readonly string[], errors: readonly unknown[]) {
    super(errors, `not released: ${failed.join(', ')}`);
    this.failed = failed;
  }
}

/**
 * Runs `work` and then releases what it added, one after the other, each even if others fail.
 * @param onFailure told of each release that fails
 * @throws what `work` threw; else a ReleaseError if a release failed
 */
export async function withReleasers<T>(
  work: (releasers: Releasers) => Promise<T>,
  onFailure: (name: string, error: unknown) => void = () => {},
): Promise<T> {
  const acquired: { name: string; release: Release }[] = [];
  const releaseAll = async (): Promise<void> => {
    const failed: string[] = [];
    const errors: unknown[] = [];
    for (let last = acquired.pop(); last !== undefined; last = acquired.pop()) {
      try {
        await last.release();
      } catch (error) {
        failed.push(last.name);
        errors.push(error);
        onFailure(last.name, error);
      }
    }
    if (errors.length > 0) throw new ReleaseError(failed, errors);
  };
  let result: T;
  try {
    result = await work({ add: (name, release) => void acquired.push({ name, release }) });
  } catch (error) {
    // Why the work failed is what the caller must hear.
    await releaseAll().catch(() => {});
    throw error;
  }
  await releaseAll();
  return result;
}
