import { Lab, sleep } from './lab.ts'
import { Mesh } from './mesh.ts'
import { Site } from './site.ts'

const lab = await Lab.create('tmp')
try {
  const mesh = await Mesh.start(lab, ['alpha'], { upArgs: ['--log-level', 'debug'] })
  const berlin = await Site.create(lab, 'berlin', '192.168.30.0/24')
  await berlin.start.bind(berlin)
  await berlin.attach(mesh.get('alpha'), ['10.77.0.0/16', '192.168.20.0/24'], '--initiate')
  await berlin.start(mesh.get('alpha'))
  await sleep(6000)
  console.log(await mesh.get('alpha').cli('ipsec', 'show', 'berlin'))
  console.log(
    mesh
      .get('alpha')
      .process.output.split('\n')
      .filter(l => /charon:|ipsec|gateway/.test(l))
      .map(l => {
        try {
          return JSON.parse(l).msg
        } catch {
          return l
        }
      })
      .join('\n'),
  )
  console.log(await mesh.get('alpha').host.exec('ip', 'route'))
} finally {
  await lab.close()
}
