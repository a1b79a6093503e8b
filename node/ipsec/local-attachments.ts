// The operator's service about attachments, on the records and the running controller of this machine.
import type { LocalContext } from '../live.ts'
import type { StoredOn } from '../service.ts'
import type {
  AddAttachment,
  AttachmentDetail,
  AttachmentEntry,
  AttachmentExport,
  AttachmentService,
  ChangeAttachment,
  ExportFormat,
  IkeDaemon,
} from '../service-ipsec.ts'
import { Attachments, type Written } from './attachments.ts'

export class LocalAttachments implements AttachmentService {
  readonly #context: LocalContext
  readonly #all: Attachments

  constructor(context: LocalContext) {
    this.#context = context
    this.#all = new Attachments(context.home, () => context.live?.attachments())
  }

  /** For `status`: nobody else is asked. */
  standings(): Pick<AttachmentEntry, 'name' | 'controller' | 'state' | 'since'>[] {
    return this.#all.standings()
  }

  async ikeDaemon(): Promise<IkeDaemon> {
    return this.#all.daemon()
  }

  async attachments(): Promise<AttachmentEntry[]> {
    return this.#all.list()
  }

  attachment(name: string): Promise<AttachmentDetail> {
    return this.#all.show(name)
  }

  addAttachment(request: AddAttachment): Promise<AttachmentDetail> {
    return this.#write('attachment-added', () => this.#all.add(request))
  }

  changeAttachment(name: string, change: ChangeAttachment): Promise<AttachmentDetail> {
    return this.#write('attachment-changed', () => this.#all.change(name, change))
  }

  removeAttachment(name: string): Promise<{ name: string; storedOn: StoredOn }> {
    const { writing, events, storedOn } = this.#context
    return writing(async () => {
      await this.#all.remove(name)
      events.append({ type: 'attachment-removed', attachment: name })
      return { name, storedOn: await storedOn() }
    })
  }

  async attachmentUp(name: string): Promise<AttachmentDetail> {
    const detail = await this.#enable(name, true)
    await this.#all.dial(name)
    return { ...(await this.#all.show(name)), storedOn: detail.storedOn }
  }

  attachmentDown(name: string): Promise<AttachmentDetail> {
    return this.#enable(name, false)
  }

  async exportAttachment(name: string, format: ExportFormat): Promise<AttachmentExport> {
    return this.#all.export(name, format)
  }

  #enable(name: string, enabled: boolean): Promise<AttachmentDetail> {
    return this.#write('attachment-changed', async () => {
      return { attachment: await this.#all.setEnabled(name, enabled), notes: [] }
    })
  }

  #write(
    type: 'attachment-added' | 'attachment-changed',
    work: () => Promise<Written>,
  ): Promise<AttachmentDetail> {
    const { writing, events, storedOn } = this.#context
    return writing(async () => {
      const { attachment, notes } = await work()
      events.append({ type, attachment: attachment.name, enabled: attachment.value.enabled })
      return { ...(await this.#all.show(attachment.name)), notes, storedOn: await storedOn() }
    })
  }
}
