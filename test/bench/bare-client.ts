/*
 * CPU time of a full handshake, compared with a minimal OpenSSL client in C, which
 * verifies the server but has no hand-off and no log. It is compiled at run time.
 */
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {execa} from 'execa';
import {handshakes} from './lib/driver.ts';
import {type Measure, median, type Operation} from './lib/measure.ts';
import {Service} from './lib/rig.ts';

const SIZE = 600;
const COMPILERS = ['/usr/bin/cc', '/usr/bin/gcc', '/usr/bin/clang'];

export const bareClient: Operation = {
	name: 'bare-client',
	async run({authority, samples, scale, logProgress}) {
		const compiler = COMPILERS.find(path => existsSync(path));
		if (compiler === undefined || !existsSync('/usr/include/openssl/ssl.h')) {
			logProgress('bare client: not measured: no C compiler, or no OpenSSL headers');
			return [];
		}

		const program = join(authority.directory, 'bare-client');
		await execa(compiler, [
			'-O2',
			'-o',
			program,
			join(import.meta.dirname, 'lib', 'bare-client.c'),
			'-lssl',
			'-lcrypto',
		]);
		await using stack = new AsyncDisposableStack();
		const service = stack.use(await Service.start('ours', authority));
		const peer = stack.use(await authority.peer('ecdsa'));
		await service.warmUp(service.target(peer), {count: 2000, concurrency: 16});
		logProgress('bare client');
		const count = Math.round(SIZE * scale);
		const bare: number[] = [];
		const ours: number[] = [];
		for (let sample = 0; sample < samples; sample++) {
			const {stdout} = await execa(program, [
				String(peer.port),
				authority.caFile,
				'test.example',
				String(count),
			]);
			bare.push(Number(stdout));
			ours.push(
				((await service.cpuOf(() => handshakes(service.target(peer), {count, concurrency: 16}))) / count) *
					1000,
			);
		}

		const measure: Measure = {
			name: 'CPU per full handshake of a bare OpenSSL client in C (as "stock"), and of ours',
			unit: 'ms',
			goal: {of: 'ratio', bound: 'at most', limit: 1.25, target: 1.1},
			samples: {stock: bare, ours},
			note: `the bare client: ${median(bare).toFixed(3)} ms from SSL_new() to SSL_free(), without connect(2)`,
		};
		return [measure];
	},
};
