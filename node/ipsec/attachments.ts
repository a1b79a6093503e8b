// Attachments as an operator handles them: writes to the records, and how they stand.
import { randomBytes } from 'node:crypto'
import { type AttachmentValue, type ControllerId, newClientId } from '../../state/kinds.ts'
import { controllerIds } from '../controller-names.ts'
import type { Home } from '../home.ts'
import { ServiceError } from '../service-error.ts'
import type {
  AddAttachment,
  AttachmentDetail,
  AttachmentEntry,
  AttachmentExport,
  ChangeAttachment,
  ExportFormat,
  IkeDaemon,
} from '../service-ipsec.ts'
import {
  checkVersion1,
  readAuthority,
  readIdentity,
  readLocalSubnets,
  readProposals,
  readRemote,
  readRemoteSubnets,
  readSecret,
} from './check.ts'
import { IpsecError } from './engine.ts'
import { exportAttachment } from './export.ts'
import type { AttachmentsLive } from './live.ts'
import { attachmentNames } from './names.ts'
import { narrowedNotes, newSecretNote, overlapNotes, writtenNotes } from './notes.ts'
import { sealSecret } from './seal.ts'
import { isSamePlace } from './strongswan/connection.ts'
import { identitiesOf } from './tunnel.ts'

/** What an attachment has unless it is told otherwise. */
export const DEFAULTS = {
  ikeVersion: 2,
  ikeProposals: [] as string[],
  espProposals: [] as string[],
  dpdSeconds: 10,
  ikeLifetimeSeconds: 14_400,
  childLifetimeSeconds: 3600,
  initiate: false,
} as const

export interface Named {
  readonly id: string
  readonly name: string
  readonly value: AttachmentValue
}

/** What an operator is told of a change. */
export interface Written {
  readonly attachment: Named
  readonly notes: string[]
}

export class Attachments {
  readonly #home: Home
  readonly #live: () => AttachmentsLive | undefined

  constructor(home: Home, live: () => AttachmentsLive | undefined) {
    this.#home = home
    this.#live = live
  }

  all(): Named[] {
    const { replica } = this.#home
    const names = attachmentNames(replica)
    const all = [...replica.all('attachment')].map(({ id, value }) => ({ id, name: names.get(id)!, value }))
    return all.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** @throws ServiceError not-found */
  get(name: string): Named {
    const found = this.all().find(each => each.name === name)
    if (found) return found
    throw new ServiceError('not-found', `no attachment is named ${name}; see \`overmesh ipsec list\``)
  }

  standings(): Pick<AttachmentEntry, 'name' | 'controller' | 'state' | 'since'>[] {
    return this.all().map(each => {
      const { name, controller, state, since } = this.#describe(each, [])
      return { name, controller, state, since }
    })
  }

  daemon(): IkeDaemon {
    const { state = 'off', problem = 'no controller is running here', esp } = this.#live()?.engine ?? {}
    return { state, problem: state === 'running' ? null : (problem ?? null), esp: esp ?? null }
  }

  async list(): Promise<AttachmentEntry[]> {
    const all = this.all()
    const reports = all.length === 0 ? [] : await this.#reports()
    return all.map(each => this.#describe(each, reports))
  }

  async show(name: string): Promise<AttachmentDetail> {
    const attachment = this.get(name)
    const live = this.#live()
    const reports = await this.#reports(attachment.id)
    const carrier = live?.carrier(attachment.id)?.controller ?? this.#home.id
    const sas = reports.find(({ controller }) => controller === carrier)?.report.sas ?? []
    return {
      ...this.#describe(attachment, reports),
      notes: [
        ...overlapNotes(this.#home, attachment.id, attachment.value),
        ...narrowedNotes(attachment.value, sas),
      ],
      engine: this.daemon(),
      sas: sas.map(sa => ({
        ...sa,
        children: [...sa.children].map(child => ({ ...child, ...copied(child) })),
      })),
    }
  }

  /** @throws ServiceError */
  async add(request: AddAttachment): Promise<Written> {
    const id = newClientId(randomBytes)
    const value = this.draft(id, request.name, request)
    await this.#home.replica.write(() => {
      if (this.all().some(({ name }) => name === request.name))
        throw new ServiceError(
          'exists',
          `an attachment named ${request.name} exists already; \`overmesh ipsec set\` changes it`,
        )
      this.#checkRivals(id, value)
      return [{ kind: 'attachment', id, value }]
    })
    return { attachment: this.get(request.name), notes: writtenNotes(this.#home, id, value, request.secret) }
  }

  /**
   * The value of an attachment that may be written, others aside.
   * @param before as it is, if it is
   * @throws ServiceError
   */
  draft(id: string, name: string, settings: ChangeAttachment, before?: AttachmentValue): AttachmentValue {
    const base = before ?? { name, ...DEFAULTS, enabled: true, createdAt: Date.now() }
    return this.#complete({ ...base, ...this.#checked(id, settings) })
  }

  /** @throws ServiceError */
  async change(name: string, change: ChangeAttachment): Promise<Written> {
    const { id } = this.get(name)
    await this.#home.replica.write(() => {
      const before = this.get(name).value
      const value = this.#complete({ ...before, ...this.#checked(id, change) })
      this.#checkRivals(id, value)
      return [{ kind: 'attachment', id, value }]
    })
    const attachment = this.get(name)
    const notes = writtenNotes(this.#home, id, attachment.value, change.secret)
    if (change.secret !== undefined && !attachment.value.initiate) notes.push(newSecretNote(name))
    return { attachment, notes }
  }

  /** @throws ServiceError */
  async setEnabled(name: string, enabled: boolean): Promise<Named> {
    const { id } = this.get(name)
    await this.#home.replica.write(() => {
      const { value } = this.get(name)
      return value.enabled === enabled ? [] : [{ kind: 'attachment', id, value: { ...value, enabled } }]
    })
    return this.get(name)
  }

  /** Routes that were added through it go with it. @throws ServiceError */
  async remove(name: string): Promise<void> {
    const { id } = this.get(name)
    const { replica } = this.#home
    await replica.write(() => [
      { kind: 'attachment', id, value: null },
      ...[...replica.all('route')]
        .filter(({ value: { via } }) => via.kind === 'attachment' && via.id === id)
        .map(route => ({ kind: 'route' as const, id: route.id, value: null })),
    ])
  }

  /** Where this mesh dials, resolves once it is up. @throws ServiceError in plain words when it does not come up */
  async dial(name: string): Promise<void> {
    const { id, value } = this.get(name)
    const live = this.#live()
    if (!value.initiate || live === undefined || live.state(id) === 'up') return
    try {
      await live.comesUp(id)
    } catch (error) {
      if (!(error instanceof IpsecError)) throw error
      throw new ServiceError('failed', `${name} is enabled, but does not come up: ${error.message}`)
    }
  }

  export(name: string, format: ExportFormat): AttachmentExport {
    const { mesh, views } = this.#home
    const { value } = this.get(name)
    const controllers = this.#order(value).flatMap(id => {
      const controller = views.controllers().find(each => each.id === id)
      return controller ? [controller.value] : []
    })
    return exportAttachment({ mesh: mesh.value, attachment: value, name, controllers }, format)
  }

  /** All controllers, the preferred ones first. */
  #order({ controllers }: AttachmentValue): ControllerId[] {
    const all = this.#home.views.controllers().map(({ id }) => id)
    return [...controllers.filter(id => all.includes(id)), ...all.filter(id => !controllers.includes(id))]
  }

  async #reports(id?: string): Promise<Reports> {
    return (await this.#live()?.reports(id)) ?? []
  }

  #describe({ id, name, value }: Named, reports: Reports): AttachmentEntry {
    const live = this.#live()
    const carrier = live?.carrier(id)
    const problem = carrier ? undefined : latestProblem(id, reports)
    const { localId = null, remoteId = null } = identitiesOf(this.#home.mesh.value.name, value)
    return {
      name,
      enabled: value.enabled,
      state: value.enabled ? (live?.state(id) ?? 'down') : 'disabled',
      controller: carrier ? this.#nameOf(carrier.controller) : null,
      since: carrier ? new Date(carrier.since).toISOString() : null,
      problem: problem
        ? {
            at: new Date(problem.at).toISOString(),
            text: problem.text,
            controller: this.#nameOf(problem.controller),
          }
        : null,
      remote: value.remote === '%any' ? 'any' : value.remote,
      initiate: value.initiate,
      natTraversal: value.natTraversal ?? 'auto',
      authentication: value.authentication.method,
      localId,
      remoteId,
      ikeVersion: value.ikeVersion,
      ikeProposals: [...value.ikeProposals],
      espProposals: [...value.espProposals],
      localSubnets: [...value.localSubnets],
      remoteSubnets: [...value.remoteSubnets],
      dpdSeconds: value.dpdSeconds,
      ikeLifetimeSeconds: value.ikeLifetimeSeconds,
      childLifetimeSeconds: value.childLifetimeSeconds,
      // Those that were removed prefer nothing any more.
      controllers: value.controllers
        .filter(each => this.#home.views.isAdmitted(each))
        .map(each => this.#nameOf(each)),
      createdAt: new Date(value.createdAt).toISOString(),
    }
  }

  #nameOf(id: ControllerId): string {
    return this.#home.replica.get('controller', id)?.name ?? id
  }

  /** What of a request goes into the record. @throws ServiceError */
  #checked(id: string, request: ChangeAttachment): Partial<AttachmentValue> {
    const { subnet } = this.#home.mesh
    const value: Partial<AttachmentValue> = {}
    if (request.remote !== undefined) value.remote = readRemote(request.remote, subnet)
    if (request.localSubnets) value.localSubnets = readLocalSubnets(request.localSubnets)
    if (request.remoteSubnets) value.remoteSubnets = readRemoteSubnets(request.remoteSubnets, subnet)
    if (request.localId !== undefined) value.localId = readIdentity(request.localId, '--local-id')
    if (request.remoteId !== undefined) value.remoteId = readIdentity(request.remoteId, '--remote-id')
    if (request.ikeProposals) value.ikeProposals = readProposals(request.ikeProposals, 'ike')
    if (request.espProposals) value.espProposals = readProposals(request.espProposals, 'esp')
    if (request.controllers) value.controllers = controllerIds(this.#home, request.controllers)
    for (const key of [
      'ikeVersion',
      'dpdSeconds',
      'ikeLifetimeSeconds',
      'childLifetimeSeconds',
      'initiate',
    ] as const)
      if (request[key] !== undefined) Object.assign(value, { [key]: request[key] })
    if (request.natTraversal !== undefined)
      value.natTraversal = request.natTraversal === 'always' ? 'always' : undefined
    if (request.secret !== undefined && request.authority !== undefined)
      throw new ServiceError(
        'invalid',
        'the site proves itself by a pre-shared key or by a certificate, not by both',
      )
    if (request.secret !== undefined) {
      const sealed = sealSecret(this.#home.tlsCryptKey, id, readSecret(request.secret), randomBytes)
      value.authentication = { method: 'psk', sealed }
    }
    if (request.authority !== undefined)
      value.authentication = { method: 'certificate', remoteAuthority: readAuthority(request.authority) }
    return value
  }

  /** @throws ServiceError when something is missing, or does not go together */
  #complete(value: Partial<AttachmentValue>): AttachmentValue {
    if (value.authentication === undefined)
      throw new ServiceError(
        'invalid',
        'how does the site prove itself? give --psk-file FILE, or --ca-file FILE',
      )
    if (value.initiate && value.remote === '%any')
      throw new ServiceError(
        'invalid',
        'there is nothing to dial with --remote any; give its address, or leave --initiate out',
      )
    const same = value.localSubnets?.find(each => value.remoteSubnets?.includes(each))
    if (same !== undefined)
      throw new ServiceError(
        'invalid',
        `${same} is named on both sides; --remote-ts is what is at the site, --local-ts what the site reaches here`,
      )
    if (value.localId === '%any')
      throw new ServiceError('invalid', '--local-id: the controllers have one name; give it, or leave it out')
    if (value.ikeVersion === 1) checkVersion1(value.ikeProposals ?? [])
    if (value.childLifetimeSeconds! > value.ikeLifetimeSeconds!)
      throw new ServiceError('invalid', '--lifetime, of ESP keys, is not to be longer than --ike-lifetime')
    const { natTraversal, ...rest } = value
    return {
      ...rest,
      ...(natTraversal && { natTraversal }),
      controllers: value.controllers ?? [],
    } as AttachmentValue
  }

  /** A prefix leads to one site, and a device has one attachment: the daemon could not tell two apart. @throws ServiceError */
  #checkRivals(id: string, value: AttachmentValue): void {
    const { remoteSubnets, remote } = value
    const { name: meshName } = this.#home.mesh.value
    const { localId, remoteId } = identitiesOf(meshName, value)
    for (const other of this.all()) {
      const theirs = identitiesOf(meshName, other.value)
      if (
        other.id !== id &&
        remoteId !== undefined &&
        theirs.remoteId === remoteId &&
        theirs.localId === localId &&
        isSamePlace(other.value.remote, remote)
      )
        throw new ServiceError(
          'refused',
          `attachment ${other.name} is with the device that calls itself "${remoteId}" already; name all its networks there, or give it another --remote-id here`,
        )
      const same =
        other.id === id ? undefined : remoteSubnets.find(each => other.value.remoteSubnets.includes(each))
      if (same !== undefined)
        throw new ServiceError(
          'refused',
          `${same} is at the site of attachment ${other.name} already; IPsec cannot tell two sites with one prefix apart`,
        )
    }
  }
}

type Reports = Awaited<ReturnType<AttachmentsLive['reports']>>

function latestProblem(id: string, reports: Reports) {
  const all = reports.flatMap(({ controller, report: { problems } }) =>
    problems[id] ? [{ ...problems[id], controller }] : [],
  )
  return all.sort((a, b) => b.at - a.at).at(0)
}

/** Lists that are the caller's own. */
function copied({
  localSubnets,
  remoteSubnets,
}: {
  localSubnets: readonly string[]
  remoteSubnets: readonly string[]
}) {
  return { localSubnets: [...localSubnets], remoteSubnets: [...remoteSubnets] }
}
