import { hash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../engine/engine.ts';
import { ApiError } from '../errors.ts';
import { isLoopbackName } from '../loopback.ts';
import { viaHeader } from '../model.ts';

/** More servers in a row than anybody sets up on purpose. */
const maxVia = 8;
/** The tenant of those who bring no bearer token, where that is allowed. No hash looks like it. */
const anonymous = 'anonymous';

export type AccessRules = {
  /** Whether somebody without a bearer token may call: on a loopback bind, or with `auth.mode=none`. */
  readonly allowsAnonymous: boolean;
  /** Whether the server listens on loopback only, so that a foreign `Host` means a rebound name. */
  readonly isLoopback: boolean;
  readonly corsOrigins: readonly string[];
  /** Further names that `Host` may carry on a loopback bind. */
  readonly allowedHosts: readonly string[];
  readonly serverId: string;
};

/**
 * Who calls, from the headers alone.
 * @throws ApiError 401 without a usable bearer token where one is needed, 508 where the call has been here before.
 */
export function identify(request: FastifyRequest, rules: AccessRules): Caller {
  const credential = bearerOf(request.headers.authorization);
  if (credential === undefined && !rules.allowsAnonymous) {
    throw new ApiError('unauthorized', 'No API key was given. Send it as `Authorization: Bearer KEY`.', {
      code: 'invalid_api_key',
    });
  }
  return {
    tenant: credential === undefined ? anonymous : hash('sha256', credential, 'base64url'),
    credential,
    provider: single(request.headers['x-model-provider'])?.trim().toLowerCase(),
    via: viaOf(request, rules.serverId),
  };
}

/**
 * Keeps web pages out where no credential is needed: neither another origin may use the server, nor a name that was
 * rebound to a loopback address.
 * @throws ApiError 403
 */
export function checkBrowser(request: FastifyRequest, rules: AccessRules): void {
  if (!rules.allowsAnonymous) return;
  const { origin, host } = request.headers;
  if (origin !== undefined && !rules.corsOrigins.includes(origin)) {
    throw new ApiError(
      'forbidden',
      `Web pages of origin '${origin.slice(0, 200)}' may not use this server: its operator can allow it with open-responses.http.cors-origins.`,
      { code: 'origin_not_allowed' },
    );
  }
  if (rules.isLoopback && !isLocalName(nameOf(host ?? ''), rules.allowedHosts)) {
    throw new ApiError(
      'forbidden',
      `This server listens on loopback and does not answer to the host name '${(host ?? '').slice(0, 200)}': its operator can allow it with open-responses.server.allowed-hosts.`,
      { code: 'host_not_allowed' },
    );
  }
}

function isLocalName(name: string, allowed: readonly string[]): boolean {
  return isLoopbackName(name) || allowed.some((each) => each.toLowerCase() === name);
}

/** The host name without its port. */
function nameOf(host: string): string {
  const bracketed = /^(\[[^\]]*\])(?::\d*)?$/.exec(host);
  return (bracketed?.[1] ?? host.replace(/:\d*$/, '')).toLowerCase();
}

function bearerOf(header: string | undefined): string | undefined {
  if (header === undefined || header.trim() === '') return undefined;
  const match = /^bearer(?:\s+(.*))?$/i.exec(header.trim());
  if (match === null) {
    throw new ApiError('unauthorized', 'Only bearer tokens are accepted: `Authorization: Bearer KEY`.', {
      code: 'invalid_api_key',
    });
  }
  const token = match[1]?.trim();
  return token === undefined || token === '' ? undefined : token;
}

function viaOf(request: FastifyRequest, serverId: string): string[] {
  const header = single(request.headers[viaHeader]);
  if (header === undefined) return [];
  const via = header.split(',').map((id) => id.trim());
  if (via.includes(serverId) || via.length >= maxVia) {
    throw new ApiError(
      'loop',
      'This call came back to a server that it has already passed: check the addresses of its providers.',
      {
        code: 'loop_detected',
        shouldRetry: false,
      },
    );
  }
  return via;
}

function single(header: string | string[] | undefined): string | undefined {
  const value = Array.isArray(header) ? header[0] : header;
  return value === undefined || value === '' ? undefined : value;
}
