import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';

/** The folder that Docker gets to see. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

const texts = z.array(z.string());
const texted = z.record(z.string(), z.union([z.string(), z.number()]).transform(String));

/** A service in the forms that this project writes. Others are refused: no check could then be passed over. */
const serviceSchema = z.strictObject({
  build: z.string().optional(),
  image: z.string().optional(),
  profiles: texts.optional(),
  user: z.string().optional(),
  environment: texted.default({}),
  ports: texts.default([]),
  volumes: texts.default([]),
  networks: texts.default(['default']),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.string() })).default({}),
  healthcheck: z
    .strictObject({
      test: texts,
      interval: z.string(),
      timeout: z.string(),
      retries: z.number(),
      start_period: z.string(),
    })
    .optional(),
  read_only: z.boolean().default(false),
  tmpfs: texts.default([]),
  cap_drop: texts.default([]),
  security_opt: texts.default([]),
  mem_limit: z.string().optional(),
  pids_limit: z.number().optional(),
  shm_size: z.string().optional(),
  init: z.boolean().default(false),
  restart: z.string().optional(),
  stop_grace_period: z.string().optional(),
  logging: z.strictObject({ driver: z.string(), options: z.record(z.string(), z.string()) }).optional(),
});

const fileSchema = z.looseObject({
  services: z.record(z.string(), serviceSchema),
  networks: z.record(z.string(), z.strictObject({ internal: z.boolean() })),
  volumes: z.record(z.string(), z.null()),
});

export type Service = z.infer<typeof serviceSchema>;
export type ComposeFile = z.infer<typeof fileSchema>;
export type Variables = Readonly<Record<string, string>>;

/** The file as YAML has it, anchors resolved. */
export function readDocument(): unknown {
  return parse(readFileSync(`${root}docker-compose.yml`, 'utf8'), { merge: true });
}

/** The file as Compose sees it where these variables are set. */
export function readCompose(variables: Variables = {}): ComposeFile {
  return fileSchema.parse(interpolated(readDocument(), variables));
}

/** What Compose starts: services of no profile, and those of a named one; where none is named, its name is empty. */
export function selected({ services }: ComposeFile, profiles: readonly string[] = []): Record<string, Service> {
  const active = profiles.length === 0 ? [''] : profiles;
  return Object.fromEntries(
    Object.entries(services).filter(
      ([, service]) => service.profiles === undefined || service.profiles.some((each) => active.includes(each)),
    ),
  );
}

/** Replaces `${NAME:-default}`, the only form that this project uses. */
function interpolated(value: unknown, variables: Variables): unknown {
  if (typeof value === 'string') return interpolatedText(value, variables);
  if (Array.isArray(value)) return value.map((each) => interpolated(each, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, interpolated(each, variables)]));
}

function interpolatedText(text: string, variables: Variables): string {
  const done = text.replaceAll(/\$\{(\w+):-([^}]*)\}/g, (_, name: string, fallback: string) => {
    const value = variables[name] ?? '';
    return value === '' ? fallback : value;
  });
  if (done.includes('$')) throw new Error(`unexpected form of a variable: ${text}`);
  return done;
}
