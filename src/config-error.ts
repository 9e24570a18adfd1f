/** A setting, a flag or a file that keeps the server from starting. Its message is one line, made for the operator. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}
