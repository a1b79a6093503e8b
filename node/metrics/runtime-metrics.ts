// The process itself, under the names that all exporters of Prometheus use.
import { readdirSync, readFileSync } from 'node:fs'
import type { Exposition } from './exposition.ts'
import type { Pulse } from './pulse.ts'

const MICROSECONDS = 1e6

export function addRuntimeMetrics(out: Exposition, pulse: Pick<Pulse, 'lag' | 'isTurning'>): void {
  const { user, system } = process.cpuUsage()
  const memory = process.memoryUsage()
  out.counter(
    'process_cpu_user_seconds_total',
    'CPU time of all threads in user space, seconds.',
    user / MICROSECONDS,
  )
  out.counter(
    'process_cpu_system_seconds_total',
    'CPU time of all threads in the kernel, seconds.',
    system / MICROSECONDS,
  )
  out.counter(
    'process_cpu_seconds_total',
    'CPU time of all threads, seconds.',
    (user + system) / MICROSECONDS,
  )
  out.gauge(
    'process_start_time_seconds',
    'When the process started, seconds since 1970.',
    performance.timeOrigin / 1000,
  )
  out.gauge('process_resident_memory_bytes', 'Memory of the process that is in RAM.', memory.rss)
  const { open, most } = fileDescriptors()
  if (open !== undefined) out.gauge('process_open_fds', 'File descriptors that are open.', open)
  if (most !== undefined) out.gauge('process_max_fds', 'File descriptors that may be open.', most)
  out.gauge('nodejs_heap_size_total_bytes', "JavaScript's heap of the main thread.", memory.heapTotal)
  out.gauge('nodejs_heap_size_used_bytes', 'What of it is used.', memory.heapUsed)
  out.gauge(
    'nodejs_external_memory_bytes',
    'Memory outside of the heap that its objects own.',
    memory.external,
  )
  out.counter(
    'overmesh_event_loop_busy_seconds_total',
    'Time in which the main thread was at work, seconds.',
    performance.eventLoopUtilization().active / 1000,
  )
  out.histogram(
    'overmesh_event_loop_lag_seconds',
    'How late timers of the main thread are, looked at twice a second.',
    pulse.lag,
  )
  out.gauge(
    'overmesh_switch_alive',
    "1 while the switch's thread turns, 0 once it hangs.",
    Number(pulse.isTurning),
  )
}

/** Undefined where /proc does not say. */
function fileDescriptors(): { open?: number; most?: number } {
  try {
    const open = readdirSync('/proc/self/fd').length
    const [, most] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return { open, most: most === undefined ? undefined : Number(most) }
  } catch {
    return {}
  }
}
