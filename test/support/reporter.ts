import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node';
import type { Databases } from './databases.ts';

/**
 * Prints the line `N passed, N failed` when the process ends. A failed hook, a file that could not be loaded and an
 * unhandled error each count as a failure, and so does a test that was skipped: nothing may hide. Only tests of a
 * database that is not on this machine may be skipped; which one it is, and how to get it, is said before that line.
 * With TEST_REQUIRE_DATABASES=1 they count as well, and so does the missing database itself.
 */
export default class ClosingLine implements Reporter {
  #vitest: Vitest | undefined;
  #databases: Databases | undefined;
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    this.#databases = this.#vitest?.getRootProject().getProvidedContext().databases;
    this.#passed = 0;
    this.#skipped = 0;
    this.#failed = errors.length + this.#failedDatabases();
    for (const module of modules) {
      this.#failed += module.errors().length;
      this.#suites(module);
      for (const test of module.children.allTests()) {
        if (test.result().state === 'passed') this.#passed += 1;
        else if (this.#maySkip(test)) this.#skipped += 1;
        else this.#failed += 1;
      }
    }
    process.once('exit', () => {
      for (const { notice } of this.#databases?.problems ?? []) process.stderr.write(`\n${notice}\n`);
      if (this.#skipped > 0) process.stderr.write(`\n!! ${this.#skipped} TESTS WERE SKIPPED.\n`);
      process.stdout.write(`\n${this.#passed} passed, ${this.#failed} failed\n`);
      if (this.#failed > 0 || this.#passed === 0) process.exitCode = 1;
    });
  }

  #suites(parent: TestModule | TestSuite): void {
    for (const suite of parent.children.allSuites()) this.#failed += suite.errors().length;
  }

  #failedDatabases(): number {
    const { problems = [], isRequired = false } = this.#databases ?? {};
    return problems.filter(({ isFailure }) => isFailure || isRequired).length;
  }

  #maySkip(test: TestCase): boolean {
    if (test.result().state !== 'skipped' || this.#databases === undefined || this.#databases.isRequired) return false;
    const { backend } = test.meta();
    return this.#databases.problems.some((problem) => problem.backend === backend);
  }
}
