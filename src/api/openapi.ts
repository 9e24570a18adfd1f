import { answerSchemas } from './openapi-answers.ts';
import { eventSchemas } from './openapi-events.ts';
import { errorResponses, headers, parameters, paths } from './openapi-paths.ts';
import { requestSchemas } from './openapi-requests.ts';

/** The package's own version; a test holds the two together. */
const version = '0.1.0';

let built: object | undefined;

/** The OpenAPI 3.1 document of this server. Built when it is first asked for, and then the same object every time. */
export function openApiDocument(): object {
  built ??= build();
  return built;
}

function build(): object {
  return {
    openapi: '3.1.0',
    info: {
      title: 'OpenResponses',
      version,
      description:
        'The OpenAI Responses and Conversations APIs over any model. A path that is not listed here is answered with 404, a listed one with another method with 405, except where OpenAI has an operation that is not offered here, such as `GET /v1/responses`: that is a 404 too. All have the body of every error.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'The server that this document came from.' }],
    security: [{ bearer: [] }],
    tags: [
      { name: 'Responses', description: 'What models say.' },
      { name: 'Conversations', description: 'Lists of items that grow with every response made in them.' },
      { name: 'Models', description: 'Who can be asked.' },
      { name: 'Server', description: 'Open to anybody.' },
    ],
    paths: paths(),
    components: {
      schemas: { ...requestSchemas(), ...answerSchemas, ...eventSchemas },
      responses: errorResponses,
      parameters,
      headers,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            'The caller’s API key. It names the owner of what is stored, and goes to providers for which the operator has set no key. A server that listens on loopback only needs none.',
        },
      },
    },
  };
}
