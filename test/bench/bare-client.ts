/*
 * daemon/handshake against a bare OpenSSL client in C, which is compiled here and
 * now: verification and nothing else, no hand-off, no log.
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
	async run({authority, samples, scale, say}) {
		const compiler = COMPILERS.find(path => existsSync(path));
		if (compiler === undefined || !existsSync('/usr/include/openssl/ssl.h')) {
			say('bare client: not measured, there is no C compiler with the headers of OpenSSL');
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
		await service.warmUp(service.target(peer), {count: 2000, atOnce: 16});
		say('bare client');
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
				((await service.cpuOf(() => handshakes(service.target(peer), {count, atOnce: 16}))) / count) * 1000,
			);
		}

		const measure: Measure = {
			name: 'CPU per full handshake of a bare OpenSSL client in C (as "stock"), and of ours',
			unit: 'ms',
			goal: {of: 'ratio', sense: 'at most', must: 1.25, beyond: 1.1},
			samples: {stock: bare, ours},
			note: `the bare client: ${median(bare).toFixed(3)} ms from SSL_new() to SSL_free(), without connect(2)`,
		};
		return [measure];
	},
};
