import type { Reporter, TestModule, TestSuite } from 'vitest/node';

/**
 * Prints the line `N passed, N failed` when the process ends. A failed hook, a file that could not be loaded and an
 * unhandled error each count as a failure, and so does a test that was skipped: nothing may hide.
 */
export default class ClosingLine implements Reporter {
  #passed = 0;
  #failed = 0;

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    this.#passed = 0;
    this.#failed = errors.length;
    for (const module of modules) {
      this.#failed += module.errors().length;
      this.#suites(module);
      for (const test of module.children.allTests()) {
        if (test.result().state === 'passed') this.#passed += 1;
        else this.#failed += 1;
      }
    }
    process.once('exit', () => {
      process.stdout.write(`\n${this.#passed} passed, ${this.#failed} failed\n`);
      if (this.#failed > 0 || this.#passed === 0) process.exitCode = 1;
    });
  }

  #suites(parent: TestModule | TestSuite): void {
    for (const suite of parent.children.allSuites()) this.#failed += suite.errors().length;
  }
}
