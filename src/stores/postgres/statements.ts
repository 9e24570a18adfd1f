import type { Statement } from './session.ts';

/** A name that may stand in a statement: it was checked, and is quoted. */
export function quoted(schema: string): string {
  return `"${schema}"`;
}

const threadNames = [
  ...['id', 'kind', 'tree', 'ancestors', 'continues', 'conversation_id', 'metadata', 'end_user'],
  'created_at',
] as const;
const entryNames = [
  ...['thread', 'position', 'tree', 'is_turn', 'response_id', 'status', 'input_count', 'text_bytes', 'has_references'],
  ...['end_user', 'created_at', 'items', 'response'],
] as const;

/** How many columns an entry has in a row of answers; what follows is something else. */
export const entryWidth = entryNames.length;
export const threadWidth = threadNames.length;

function columns(names: readonly string[], table: string): string {
  return names.map((name) => `${table}.${name}`).join(', ');
}

const thread = columns(threadNames, 't');
const entry = columns(entryNames, 'e');
/** A long chain is read without the snapshots of its responses, which nobody asks of it. */
const walked = columns(entryNames.slice(0, -1), 'e');

/** `$1` to `$10`: tenant, id, and the rest of a thread. */
const insertThread = (threads: string): string => `INSERT INTO ${threads}
    (tenant, id, kind, tree, ancestors, continues, conversation_id, metadata, end_user, created_at)
    VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bigint)
    ON CONFLICT DO NOTHING`;

const entryTarget = `(tenant, thread, position, tree, is_turn, response_id, status, input_count, text_bytes,
    has_references, end_user, created_at, items, response, item_ids)`;

/** The columns of an entry from its `response_id` on, in the parameters from `first` on: 10 of them. */
function entryValues(first: number): string {
  const types = ['text', 'text', 'int', 'bigint', 'boolean', 'text', 'bigint', 'text', 'text', 'text[]'];
  return types.map((type, index) => `$${first + index}::${type}`).join(', ');
}

/** Lines of the index for the entry that the part `e` of the statement has added. */
function insertItems(items: string, threadId: string, ids: number, references: number): string {
  return `INSERT INTO ${items} (tenant, id, thread, position, is_reference, sequence)
    SELECT $1::text, i.id, ${threadId}, e.position, i.is_reference, e.sequence
    FROM e, unnest($${ids}::text[], $${references}::boolean[]) AS i (id, is_reference)`;
}

type Tables = { readonly threads: string; readonly entries: string; readonly items: string; readonly named: string };

/**
 * Where one table is looked up by what another holds, `LATERAL (… OFFSET 0)` says that it is done row by row, by the
 * index: the planner can't know better, because the tables may be empty when it plans and full when the plan is used.
 */
function writes({ threads, entries, items, named }: Tables) {
  return {
    thread: insertThread(threads),
    /** $11 is_turn, $12 … $21 the entry, $22 the kinds of its items. A response that is elsewhere is an error. */
    threadAndEntry: `WITH t AS (${insertThread(threads)} RETURNING id),
    e AS (INSERT INTO ${entries} ${entryTarget}
      SELECT $1::text, t.id, 0, $4::text, $11::boolean, ${entryValues(12)} FROM t RETURNING position, sequence),
    i AS (${insertItems(items, '$2::text', 21, 22)})
    SELECT 1 FROM e`,
    /** $3 position, $4 tree, $5 is_turn, $6 … $15 the entry, $16 the kinds of its items. */
    entry: `WITH e AS (INSERT INTO ${entries} ${entryTarget}
      VALUES ($1::text, $2::text, $3::int, $4::text, $5::boolean, ${entryValues(6)})
      ON CONFLICT DO NOTHING RETURNING position, sequence),
    i AS (${insertItems(items, '$2::text', 15, 16)})
    SELECT 1 FROM e`,
    setMetadata: `UPDATE ${threads} SET metadata = $3::text WHERE tenant = $1::text AND id = $2::text`,
    setLease: `UPDATE ${threads} SET lease_holder = $3::text, lease_expires_at = $4::bigint
      WHERE tenant = $1::text AND id = $2::text`,
    replaceEntry: `UPDATE ${entries} SET response_id = $4::text, status = $5::text, input_count = $6::int,
      text_bytes = $7::bigint, has_references = $8::boolean, end_user = $9::text, items = $10::text,
      response = $11::text, item_ids = $12::text[]
      WHERE tenant = $1::text AND thread = $2::text AND position = $3::int`,
    unindex: `DELETE FROM ${items} d WHERE d.ctid = ANY (ARRAY (
      SELECT i.ctid FROM unnest($4::text[]) AS s (id) CROSS JOIN LATERAL (SELECT l.ctid FROM ${items} l
        WHERE l.tenant = $1::text AND l.id = s.id AND l.thread = $2::text AND l.position = $3::int OFFSET 0) i))`,
    removeItems: `DELETE FROM ${items} d WHERE d.ctid = ANY (ARRAY (
      SELECT i.ctid FROM ${entries} e CROSS JOIN LATERAL unnest(e.item_ids) AS s (id)
      CROSS JOIN LATERAL (SELECT l.ctid FROM ${items} l WHERE l.tenant = $1::text AND l.id = s.id
        AND l.thread = e.thread AND l.position = e.position OFFSET 0) i
      WHERE e.tenant = $1::text AND e.thread = $2::text))`,
    removeEntries: `DELETE FROM ${entries} WHERE tenant = $1::text AND thread = $2::text`,
    removeThread: `DELETE FROM ${threads} WHERE tenant = $1::text AND id = $2::text`,
    secret: `SELECT n.value FROM ${named} n WHERE n.name = 'secret'`,
    /** Waits for whoever is about to insert one. */
    keepSecret: `INSERT INTO ${named} (name, value) VALUES ('secret', $1::text) ON CONFLICT DO NOTHING`,
  };
}

function locks({ threads, entries }: Tables) {
  return {
    begin: 'BEGIN ISOLATION LEVEL READ COMMITTED',
    commit: 'COMMIT',
    rollback: 'ROLLBACK',
    lockThread: `SELECT ${thread}, t.lease_holder, t.lease_expires_at FROM ${threads} t
      WHERE t.tenant = $1::text AND t.id = $2::text FOR UPDATE`,
    lockThreadOf: `SELECT 1 FROM ${threads} t WHERE t.tenant = $1::text AND t.id =
      (SELECT e.thread FROM ${entries} e WHERE e.tenant = $1::text AND e.response_id = $2::text) FOR UPDATE`,
    lockForks: `SELECT t.id FROM ${threads} t
      WHERE t.tenant = $1::text AND t.tree = $2::text AND t.tree <> t.id ORDER BY t.id FOR UPDATE`,
    /** Deletions in one tree go one after the other: two that go at once would each leave the last traces to the other. */
    lockTree: `SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0) # hashtextextended($2::text, 1))`,
    lockTreeOf: `SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0) # hashtextextended(e.tree, 1))
      FROM ${entries} e WHERE e.tenant = $1::text AND e.response_id = $2::text`,
    records: `SELECT id FROM ${threads} WHERE tenant = $1::text AND conversation_id = $2::text`,
    content: `SELECT 1 FROM ${entries} WHERE tenant = $1::text AND tree = $2::text AND items IS NOT NULL LIMIT 1`,
    relax: `SELECT set_config('synchronous_commit', 'off', true)`,
    insist: `SELECT set_config('synchronous_commit', 'on', true)
      WHERE current_setting('synchronous_commit') <> 'remote_apply'`,
    /** What a session would have been told, for this transaction alone. $1 … $3: ms for a statement, a lock, idleness. */
    limits: `SELECT set_config('statement_timeout', $1::text, true), set_config('lock_timeout', $2::text, true),
      set_config('idle_in_transaction_session_timeout', $3::text, true), set_config('search_path', 'pg_catalog', true)`,
    /** $1 the ms that a statement of this transaction may take. */
    patience: `SELECT set_config('statement_timeout', $1::text, true)`,
  };
}

function reads({ threads, entries, items }: Tables) {
  const position = `SELECT h.position FROM ${entries} h
      WHERE h.tenant = $1::text AND h.thread = $2::text ORDER BY h.position DESC LIMIT 1`;
  const part = (order: 'ASC' | 'DESC'): string => `SELECT ${walked} FROM ${entries} e
      WHERE e.tenant = $1::text AND e.tree = s.tree AND e.thread = s.thread AND e.position BETWEEN s.first AND s.last
      AND e.items IS NOT NULL ORDER BY e.position ${order} LIMIT $2::int`;
  // The rows in front of one decide whether it still fits: there is always one.
  const bounded = (from: string, order: string, names: string, most = '$3'): string => `SELECT ${names} FROM (
      SELECT w.*, sum(COALESCE(octet_length(w.items), 0)) OVER (ORDER BY ${order} ROWS UNBOUNDED PRECEDING)
        - COALESCE(octet_length(w.items), 0) AS before FROM (${from}) w) e
      WHERE e.before < ${most}::bigint ORDER BY ${order}`;
  const stretch = (order: 'ASC' | 'DESC'): string =>
    bounded(
      `SELECT ${walked} FROM ${entries} e WHERE e.tenant = $1::text AND e.tree = $4::text AND e.thread = $5::text
      AND e.position BETWEEN $6::int AND $7::int AND e.items IS NOT NULL ORDER BY e.position ${order} LIMIT $2::int`,
      `position ${order}`,
      walked,
    );
  const stretches = (order: 'ASC' | 'DESC'): string =>
    bounded(
      `SELECT p.*, s.number FROM unnest($4::text[], $5::text[], $6::int[], $7::int[]) WITH ORDINALITY
        AS s (tree, thread, first, last, number) CROSS JOIN LATERAL (${part(order)}) p
      ORDER BY s.number, p.position ${order} LIMIT $2::int`,
      `number, position ${order}`,
      walked,
    );
  return {
    readThread: `SELECT ${thread} FROM ${threads} t WHERE t.tenant = $1::text AND t.id = $2::text`,
    readHead: `SELECT ${thread}, (${position}) FROM ${threads} t WHERE t.tenant = $1::text AND t.id = $2::text`,
    head: position,
    readEntry: `SELECT ${walked} FROM ${entries} e
      WHERE e.tenant = $1::text AND e.thread = $2::text AND e.position = $3::int`,
    readEntries: bounded(
      `SELECT ${walked}, s.number FROM unnest($2::text[], $3::int[]) WITH ORDINALITY
        AS s (thread, position, number) CROSS JOIN LATERAL (SELECT * FROM ${entries} o
        WHERE o.tenant = $1::text AND o.thread = s.thread AND o.position = s.position OFFSET 0) e`,
      'number',
      `${walked}, NULL, e.number`,
      '$4',
    ),
    entryOfResponse: `SELECT ${entry} FROM ${entries} e WHERE e.tenant = $1::text AND e.response_id = $2::text`,
    turn: `SELECT ${entry}, ${thread} FROM ${entries} e CROSS JOIN LATERAL (SELECT * FROM ${threads} o
        WHERE o.tenant = $1::text AND o.id = e.thread OFFSET 0) t
      WHERE e.tenant = $1::text AND e.response_id = $2::text`,
    ancestors: `WITH RECURSIVE up AS (
        SELECT t.id, t.ancestors, t.continues, 1 AS depth FROM ${threads} t
        WHERE t.tenant = $1::text AND t.id = $2::text
      UNION ALL
        SELECT t.id, t.ancestors, t.continues, up.depth + 1 FROM up CROSS JOIN LATERAL (SELECT * FROM ${threads} o
          WHERE o.tenant = $1::text AND o.id = up.continues OFFSET 0) t WHERE up.depth < $3::int)
      SELECT id, ancestors, continues FROM up ORDER BY depth`,
    stretchUp: stretch('ASC'),
    stretchDown: stretch('DESC'),
    stretchesUp: stretches('ASC'),
    stretchesDown: stretches('DESC'),
    entriesWith: `SELECT ${entry} FROM (
        SELECT DISTINCT s.number, i.thread, i.position FROM unnest($3::text[]) WITH ORDINALITY AS s (thread, number)
        CROSS JOIN LATERAL (SELECT * FROM ${items} l
          WHERE l.tenant = $1::text AND l.id = $2::text AND l.thread = s.thread OFFSET 0) i) f
      CROSS JOIN LATERAL (SELECT * FROM ${entries} o
        WHERE o.tenant = $1::text AND o.thread = f.thread AND o.position = f.position OFFSET 0) e
      ORDER BY f.number, e.position DESC LIMIT $4::int OFFSET $5::int`,
    newest: `SELECT s.number, n.thread, n.position FROM unnest($2::text[]) WITH ORDINALITY AS s (id, number)
      CROSS JOIN LATERAL (SELECT i.thread, i.position FROM ${items} i
        WHERE i.tenant = $1::text AND i.id = s.id AND NOT i.is_reference ORDER BY i.sequence DESC LIMIT 1) n`,
    idsIn: `SELECT s.id FROM unnest($3::text[]) AS s (id) WHERE EXISTS (SELECT 1 FROM ${items} i
      WHERE i.tenant = $1::text AND i.id = s.id AND i.thread = $2::text OFFSET 0)`,
  };
}

/**
 * The ways that most changes take: one statement each, a transaction by itself. None of them waits for a thread that
 * somebody else has locked: no row comes back then, as where anything is different from what was expected, and the
 * change goes the long way (`long-way.ts`). Each is right under READ COMMITTED:
 *
 * - the thread's row is locked, so that it can't be removed, and what is asked of that row is asked of its newest state;
 * - whatever else was read may be older than the lock, but entries are only ever added at the position behind the newest:
 *   where another was faster the position is taken, the unique insert adds nothing, and so does all that depends on it.
 */
function fastWays({ threads, entries, items }: Tables) {
  const own = (kind: string, condition = ''): string => `SELECT t.tree, t.created_at,
        t.lease_holder, t.lease_expires_at FROM ${threads} t
      WHERE t.tenant = $1::text AND t.id = $2::text AND t.kind = '${kind}'${condition} FOR NO KEY UPDATE SKIP LOCKED`;
  const conversation = own('conversation');
  const behindBase = `INSERT INTO ${entries} ${entryTarget}
      SELECT $1::text, $2::text, $3::int + 1, t.tree, true, ${entryValues(4)} FROM t
      WHERE $3::int < 0 OR EXISTS (SELECT 1 FROM ${entries} b
        WHERE b.tenant = $1::text AND b.thread = $2::text AND b.position = $3::int)
      ON CONFLICT DO NOTHING RETURNING position, sequence`;
  const update = (set: string, condition: string): string => `UPDATE ${threads} u SET ${set} FROM t
      WHERE u.tenant = $1::text AND u.id = $2::text${condition} RETURNING 1`;
  return {
    /** $3 the base's position, $4 … $13 the entry, $14 the kinds of its items. */
    appendToChain: `WITH t AS (${own('chain')}),
    e AS (${behindBase}), i AS (${insertItems(items, '$2::text', 13, 14)}) SELECT 1 FROM e`,
    /** The same; $15 the holder. */
    appendToConversation: `WITH t AS (${conversation}),
    e AS (${behindBase}), i AS (${insertItems(items, '$2::text', 13, 14)}),
    l AS (UPDATE ${threads} u SET lease_holder = NULL, lease_expires_at = NULL FROM e
      WHERE u.tenant = $1::text AND u.id = $2::text AND u.lease_holder = $15::text)
    SELECT 1 FROM e`,
    /** $3 now, $4 … $13 the entry, $14 the kinds of its items. */
    postItems: `WITH t AS (${own('conversation', ' AND (t.lease_holder IS NULL OR t.lease_expires_at <= $3::bigint)')}),
    e AS (INSERT INTO ${entries} ${entryTarget}
      SELECT $1::text, $2::text, COALESCE((SELECT h.position FROM ${entries} h
        WHERE h.tenant = $1::text AND h.thread = $2::text ORDER BY h.position DESC LIMIT 1), -1) + 1,
        t.tree, false, ${entryValues(4)} FROM t
      WHERE NOT EXISTS (SELECT 1 FROM unnest($13::text[]) AS s (id) CROSS JOIN LATERAL (SELECT 1 FROM ${items} d
        WHERE d.tenant = $1::text AND d.id = s.id AND d.thread = $2::text OFFSET 0) d)
      ON CONFLICT DO NOTHING RETURNING position, sequence),
    i AS (${insertItems(items, '$2::text', 13, 14)})
    SELECT 1 FROM e`,
    updateMetadata: `WITH t AS (${conversation}), u AS (${update('metadata = $3::text', '')})
    SELECT t.created_at FROM t, u`,
    /** $3 holder, $4 when it is over, $5 now. The answer: whether it was free. */
    acquireLease: `WITH t AS (${conversation}), u AS (${update(
      'lease_holder = $3::text, lease_expires_at = $4::bigint',
      ' AND (t.lease_holder IS NULL OR t.lease_expires_at <= $5::bigint OR t.lease_holder = $3::text)',
    )})
    SELECT EXISTS (SELECT 1 FROM u) FROM t`,
    renewLease: `WITH t AS (${conversation}), u AS (${update(
      'lease_expires_at = $4::bigint',
      ' AND t.lease_holder = $3::text AND t.lease_expires_at > $5::bigint',
    )})
    SELECT EXISTS (SELECT 1 FROM u) FROM t`,
    releaseLease: `WITH t AS (${conversation}), u AS (${update(
      'lease_holder = NULL, lease_expires_at = NULL',
      ' AND t.lease_holder = $3::text',
    )})
    SELECT 1 FROM t`,
    /** Changes nothing, and fails wherever a change would. */
    ping: `UPDATE ${threads} SET kind = kind WHERE tenant = '' AND id = ''`,
  };
}

export type Statements = Readonly<
  Record<
    keyof (ReturnType<typeof reads> &
      ReturnType<typeof writes> &
      ReturnType<typeof locks> &
      ReturnType<typeof fastWays>),
    Statement
  >
>;

/** Every statement that the store ever sends, but those of migrations. */
export function statementsFor(schema: string): Statements {
  const home = quoted(schema);
  const tables: Tables = {
    threads: `${home}.threads`,
    entries: `${home}.entries`,
    items: `${home}.items`,
    named: `${home}.named_values`,
  };
  const texts = { ...reads(tables), ...writes(tables), ...locks(tables), ...fastWays(tables) };
  const statements = Object.entries(texts).map(([name, text]) => [name, { name, text }]);
  return Object.fromEntries(statements) as Statements;
}
