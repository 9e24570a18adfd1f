import type { FastifyReply, FastifyRequest } from 'fastify';
import { createConversationSchema, createItemsSchema, updateConversationSchema } from '../api/conversations.ts';
import { includeQuerySchema, listQuerySchema } from '../api/queries.ts';
import * as conversations from '../engine/conversations.ts';
import { conversationLocked, conversationNotFound, itemNotFound } from '../engine/failures.ts';
import { requireBody } from './body.ts';
import { checked, type HttpContext, pathParam } from './context.ts';
import { listOf, listPage } from './lists.ts';

export async function createConversation(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const body = checked(createConversationSchema, request.body === undefined ? {} : request.body, context);
  const caller = context.callerOf(request);
  await context.requireProven(caller);
  const wanted = { metadata: body.metadata ?? {}, items: body.items ?? [] };
  return reply.send(await conversations.createConversation(caller.tenant, wanted, context.deps));
}

export async function retrieveConversation(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const id = pathParam(request, 'conversation_id');
  const found = await context.store.getConversation(context.callerOf(request).tenant, id);
  if (found === undefined) throw conversationNotFound(id);
  return reply.send(conversations.conversationResource(found));
}

export async function updateConversation(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const body = checked(updateConversationSchema, requireBody(request), context);
  const id = pathParam(request, 'conversation_id');
  const updated = await context.store.updateConversation(context.callerOf(request).tenant, id, body.metadata);
  if (updated === undefined) throw conversationNotFound(id);
  return reply.send(conversations.conversationResource(updated));
}

export async function deleteConversation(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const id = pathParam(request, 'conversation_id');
  const { tenant } = context.callerOf(request);
  const wasDeleted = await context.store.deleteConversation(tenant, id);
  if (!wasDeleted) throw conversationNotFound(id);
  context.engine.runs.stopOn(tenant, id, conversationNotFound(id));
  return reply.send({ id, object: 'conversation.deleted', deleted: true });
}

export async function createItems(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  checked(includeQuerySchema, request.query, context);
  const body = checked(createItemsSchema, requireBody(request), context);
  const caller = context.callerOf(request);
  await context.requireProven(caller);
  const id = pathParam(request, 'conversation_id');
  const added = await conversations.addItems(caller.tenant, id, body.items, context.deps);
  return reply.send(listOf(added, false));
}

export async function listItems(request: FastifyRequest, reply: FastifyReply, context: HttpContext): Promise<unknown> {
  const query = checked(listQuerySchema, request.query, context);
  const id = pathParam(request, 'conversation_id');
  const page = await context.store.listItems(context.callerOf(request).tenant, { kind: 'conversation', id }, query);
  if (page === 'missing') throw conversationNotFound(id);
  return reply.send(listPage(page, query));
}

export async function retrieveItem(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  checked(includeQuerySchema, request.query, context);
  const id = pathParam(request, 'conversation_id');
  const itemId = pathParam(request, 'item_id');
  const { tenant } = context.callerOf(request);
  const item = await context.store.getItem(tenant, id, itemId);
  if (item === undefined) throw itemNotFound(itemId);
  return reply.send(item);
}

/** Answers with the conversation, as OpenAI's does (docs/wire.md §1). */
export async function deleteItem(request: FastifyRequest, reply: FastifyReply, context: HttpContext): Promise<unknown> {
  const id = pathParam(request, 'conversation_id');
  const itemId = pathParam(request, 'item_id');
  const { tenant } = context.callerOf(request);
  const conversation = await context.store.getConversation(tenant, id);
  if (conversation === undefined) throw conversationNotFound(id);
  const outcome = await context.store.deleteItem(tenant, id, itemId);
  if (outcome === 'locked') throw conversationLocked();
  if (outcome === 'missing') throw itemNotFound(itemId);
  return reply.send(conversations.conversationResource(conversation));
}
