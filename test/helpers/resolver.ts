/*
 * A signed zone and a validating resolver, made with ldns and unbound. The resolver listens on
 * port 53, which resolv.conf(5) cannot change, of a loopback address that is not in use.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {Resolver as Stub} from 'node:dns/promises';
import {once} from 'node:events';
import {chmodSync, globSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import {execa} from 'execa';
import {extract} from './packages.ts';

/** A running resolver. Disposal stops it. */
export class Resolver implements AsyncDisposable {
	readonly address: string;
	readonly #child: ChildProcess;
	readonly #directory: string;

	private constructor(address: string, child: ChildProcess, directory: string) {
		this.address = address;
		this.#child = child;
		this.#directory = directory;
	}

	/**
	 * Signs a zone and serves it.
	 *
	 * @param zone - name with a trailing dot.
	 * @param records - lines of a zone file. SOA and NS records are added.
	 */
	static async start(zone: string, records: readonly string[]): Promise<Resolver> {
		const packages = await extract('unbound', 'ldnsutils');
		const directory = mkdtempSync(join(tmpdir(), 'resolver-'));
		chmodSync(directory, 0o755);
		const options = {cwd: directory, env: packages.environment};
		writeFileSync(
			join(directory, 'zone'),
			[
				`${zone} 60 IN SOA ns.${zone} host.${zone} 1 3600 600 86400 60`,
				`${zone} 60 IN NS ns.${zone}`,
				`ns.${zone} 60 IN A 127.0.0.1`,
				...records,
				'',
			].join('\n'),
		);
		await execa(packages.program('ldns-keygen'), ['-a', 'ECDSAP256SHA256', '-k', zone], options);
		const [key = ''] = globSync(join(directory, 'K*.key'));
		await execa(
			packages.program('ldns-signzone'),
			['-n', '-f', 'signed', 'zone', key.replace(/\.key$/, '')],
			options,
		);

		const address = `127.${1 + (process.pid % 250)}.${Math.floor(Math.random() * 250)}.53`;
		writeFileSync(
			join(directory, 'unbound.conf'),
			[
				'server:',
				` interface: ${address}`,
				' access-control: 127.0.0.0/8 allow',
				' username: ""',
				' chroot: ""',
				' pidfile: ""',
				` directory: "${directory}"`,
				' use-syslog: no',
				' module-config: "validator iterator"',
				' do-not-query-localhost: no',
				' local-zone: "test." nodefault',
				` trust-anchor-file: "${key}"`,
				'auth-zone:',
				` name: "${zone}"`,
				` zonefile: "${join(directory, 'signed')}"`,
				' for-downstream: no',
				' for-upstream: yes',
				'',
			].join('\n'),
		);
		const child = spawn(packages.program('unbound'), ['-d', '-c', join(directory, 'unbound.conf')], {
			...options,
			env: {...process.env, ...packages.environment},
			stdio: ['ignore', 'ignore', 'pipe'],
		});
		let errors = '';
		child.stderr.setEncoding('utf8').on('data', (text: string) => {
			errors += text;
		});
		const resolver = new Resolver(address, child, directory);
		const stub = new Stub({timeout: 500, tries: 1});
		stub.setServers([address]);
		for (let tries = 0; tries < 600; tries++) {
			try {
				await stub.resolve4(`ns.${zone}`);
				return resolver;
			} catch {
				await delay(50);
			}
		}

		await resolver[Symbol.asyncDispose]();
		throw new Error(`the resolver does not answer: ${errors}`);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#child.exitCode === null && this.#child.signalCode === null) {
			const ended = once(this.#child, 'exit');
			this.#child.kill('SIGKILL');
			await ended;
		}

		rmSync(this.#directory, {recursive: true});
	}
}
