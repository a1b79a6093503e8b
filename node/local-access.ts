// The operator's service about access to the API over TCP: where it listens, and who may use it.
import { apiSettings, changeApiSettings } from './api-settings.ts'
import type { LocalContext } from './live.ts'
import type { ApiService, ApiState, ChangeApi } from './service-api.ts'
import type { AddToken, NewToken, RevokedTokens, Token, TokenService } from './service-tokens.ts'
import { Tokens } from './tokens.ts'

export class LocalAccess implements ApiService, TokenService {
  readonly #context: LocalContext
  readonly #tokens: Tokens
  /** Changes of the API are made one after the other. */
  #change: Promise<unknown> = Promise.resolve()

  constructor(context: LocalContext) {
    this.#context = context
    this.#tokens = new Tokens(context.home)
  }

  async api(): Promise<ApiState> {
    const { home, live } = this.#context
    const api = live?.api()
    return {
      ...apiSettings(home),
      listening: api?.listening() ?? [],
      certificate: api?.certificate() ?? null,
      rootCertificate: home.rootCertificate,
      rootFingerprint: home.mesh.value.rootFingerprint,
    }
  }

  changeApi(change: ChangeApi): Promise<ApiState> {
    const { home, events, live } = this.#context
    const done = this.#change.then(async () => {
      const { listen, names } = await changeApiSettings(home, change, live?.api())
      events.append({ type: 'api-changed', listen, names })
      return this.api()
    })
    this.#change = done.catch(() => {})
    return done
  }

  async tokens(): Promise<Token[]> {
    return this.#tokens.list(Date.now())
  }

  addToken(request: AddToken): Promise<NewToken> {
    const { writing, events, storedOn } = this.#context
    return writing(async () => {
      const made = await this.#tokens.add(request, Date.now())
      const { name, id, scope, expiresAt } = made.token
      events.append({ type: 'token-added', token: name, id, scope, until: expiresAt })
      return { ...made, storedOn: await storedOn() }
    })
  }

  revokeToken(name: string): Promise<RevokedTokens> {
    const { writing, events, storedOn } = this.#context
    return writing(async () => {
      const tokens = await this.#tokens.revoke(name, Date.now())
      for (const token of tokens) events.append({ type: 'token-revoked', token: token.name, id: token.id })
      return { tokens, storedOn: await storedOn() }
    })
  }
}
