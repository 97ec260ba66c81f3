/** Prints `N passed, N failed, N skipped`, added up over the vitest JSON reports that are given and exist. */
import { existsSync, readFileSync } from 'node:fs';

let passed = 0;
let failed = 0;
let skipped = 0;
for (const file of process.argv.slice(2).filter(existsSync)) {
  const report = JSON.parse(readFileSync(file, 'utf8'));
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
  // A file that could not be loaded, or whose hook failed, has no failed test of its own but is no success.
  failed += report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length;
}
if (passed + failed + skipped > 0) process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
