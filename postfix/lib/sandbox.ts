/*++
/* NAME
/*	sandbox 3
/* SUMMARY
/*	a private Postfix instance
/* DESCRIPTION
/*	Configuration, queue, data and log in one new directory; loopback
/*	only; a free port for submission. The daemons are those of the
/*	installed Postfix. The configuration, queue and processes of the
/*	host's own instance are neither needed nor touched.
/*
/*	The directory belongs to root and can be read by all, because
/*	daemons run as the mail owner; names in it cannot be guessed
/*	beforehand. Mail is submitted by SMTP (inject.ts).
/*
/*	stop() ends what this instance started and nothing else: master(8)
/*	by its lock file, and what is left of its session.
/* DIAGNOSTICS
/*	Error: Postfix did not do what it was told; with its own words.
/*--*/

import {chownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {chmod, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {execa} from 'execa';
import {commandEnvironment, mailVersion} from './instance.ts';
import {UsageError} from './master-cf.ts';
import {type ProcessEntry, processesOf, runsProgram} from './processes.ts';
import {builtProgram, checkSafe} from './program.ts';

/** How a sandbox differs from the usual one. */
export interface SandboxOptions {
	/** Parameters for main.cf. */
	readonly main?: Readonly<Record<string, string>>;
	/** Lines for master.cf. A service that the sandbox also has is replaced. */
	readonly services?: readonly string[];
	/** Which tlsproxy(8) the instance has. Default: ours, as postfix/install registers it. */
	readonly tlsproxy?: 'ours' | 'stock' | 'none';
	/** More services like tlsproxy, by name, with parameters of their own. */
	readonly copies?: Readonly<Record<string, Readonly<Record<string, string>>>>;
	/** Chroot column of tlsproxy. Default n. */
	readonly chroot?: 'y' | 'n';
	/** Process limit of our tlsproxy. Default: as postfix/install has it. */
	readonly processLimit?: number;
	/** Address of the resolver that its processes use, instead of those that the host uses. */
	readonly resolver?: string;
	/** Do not remove the directory in stop(). */
	readonly keep?: boolean;
}

/** How long scache(8) keeps a connection, and a little for it to be closed; in milliseconds. Source: smtp_connection_cache_time_limit in postconf(5). */
export const STORED_FOR = 2500;

/** Its presence says that a directory may be removed. */
const MARKER = '.tlsproxy-sandbox';

/** Time for one administration command, in milliseconds: no matter how busy the machine is. */
const COMMAND_LIMIT = 120_000;

/** Time for something that is about to happen, in milliseconds. Who waits for it sees that it does not; a machine that is busy is no reason. */
const PATIENCE = 60_000;

/** Directories of a queue, by owner. Source: postfix conf/postfix-files. */
const OWNED_BY_MAIL_OWNER =
	'active bounce corrupt defer deferred flush hold incoming private saved trace'.split(' ');

/** Columns: type, private, unprivileged, chroot, wake-up, limit, command. No jail: there is nothing in the queue to live on. */
const SERVICES: Readonly<Record<string, string>> = {
	pickup: 'unix n - n 60 1 pickup',
	cleanup: 'unix n - n - 0 cleanup',
	qmgr: 'unix n - n 300 1 qmgr',
	tlsmgr: 'unix - - n 1000? 1 tlsmgr',
	rewrite: 'unix - - n - - trivial-rewrite',
	bounce: 'unix - - n - 0 bounce',
	defer: 'unix - - n - 0 bounce',
	trace: 'unix - - n - 0 bounce',
	verify: 'unix - - n - 1 verify',
	flush: 'unix n - n 1000? 0 flush',
	proxymap: 'unix - - n - - proxymap',
	smtp: 'unix - - n - - smtp',
	relay: 'unix - - n - - smtp',
	showq: 'unix n - n - - showq',
	error: 'unix - - n - - error',
	retry: 'unix - - n - - error',
	discard: 'unix - - n - - discard',
	local: 'unix - n n - - local',
	virtual: 'unix - n n - - virtual',
	lmtp: 'unix - - n - - lmtp',
	anvil: 'unix - - n - 1 anvil',
	scache: 'unix - - n - 1 scache',
	postlog: 'unix-dgram n - n - 1 postlogd',
};

/** Those of this process that are made and not stopped yet. */
const standing = new Set<Sandbox>();
/** Whoever removes all of them does not want to see another. */
let noMore = false;

/** A private Postfix instance. Disposal stops and removes it. */
export class Sandbox implements AsyncDisposable {
	readonly directory: string;
	/** Where smtpd(8) listens, on 127.0.0.1. */
	readonly submissionPort: number;
	readonly #resolver: string | undefined;
	#keep: boolean;
	#starting: Promise<unknown> | undefined;
	#stopped = false;

	private constructor(directory: string, submissionPort: number, keep: boolean, resolver?: string) {
		this.#resolver = resolver;
		this.directory = directory;
		this.submissionPort = submissionPort;
		this.#keep = keep;
	}

	/** Makes an instance; start() runs it. */
	static async create(options: SandboxOptions = {}): Promise<Sandbox> {
		const port = await freePort();
		if (noMore) {
			throw new Error('all sandboxes are being removed');
		}

		const directory = mkdtempSync(join(tmpdir(), 'postfix-sandbox-'));
		const sandbox = new Sandbox(directory, port, options.keep ?? false, options.resolver);
		standing.add(sandbox);
		try {
			await sandbox.#populate(options);
		} catch (reason) {
			standing.delete(sandbox);
			rmSync(directory, {recursive: true, force: true});
			throw reason;
		}

		return sandbox;
	}

	/** Stops all that this process has made, for a command that is interrupted. There will not be others. */
	static async stopAll(): Promise<void> {
		noMore = true;
		await Promise.all(Array.from(standing, sandbox => sandbox.stop()));
	}

	/**
	 * An instance that another process made and left running.
	 *
	 * @throws {UsageError} when the directory is not one of ours.
	 */
	static attach(directory: string): Sandbox {
		const marker = lstatSync(join(directory, MARKER), {throwIfNoEntry: false});
		const stat = lstatSync(directory, {throwIfNoEntry: false});
		/* Whoever can make a directory in /tmp must not be able to have root remove another. */
		if (
			marker === undefined ||
			stat === undefined ||
			!stat.isDirectory() ||
			stat.uid !== 0 ||
			marker.uid !== 0
		) {
			throw new UsageError(`${directory} is not a sandbox of this program`);
		}

		return new Sandbox(directory, Number(readFileSync(join(directory, MARKER), 'utf8')), false);
	}

	get configDirectory(): string {
		return join(this.directory, 'etc');
	}

	get queueDirectory(): string {
		return join(this.directory, 'queue');
	}

	get logFile(): string {
		return join(this.directory, 'log', 'maillog');
	}

	/** Starts the instance; it accepts mail when this is done. */
	async start(): Promise<void> {
		if (this.#stopped) {
			throw new Error('the sandbox was stopped');
		}

		this.#starting = this.#postfixStart().catch(async (reason: unknown) => {
			throw new Error(`the sandbox does not start: ${String(reason)}\n${await this.log()}`, {cause: reason});
		});
		await this.#starting;
	}

	/** Ends all processes of the instance, within ten seconds, and removes the directory unless it is to be kept. */
	async stop(): Promise<void> {
		this.#stopped = !this.#keep;
		standing.delete(this);
		/* A start that is under way may be about to write the lock file. */
		await this.#starting?.catch(() => undefined);
		const master = this.#master();
		if (master !== undefined) {
			signal(master, 'SIGTERM');
			if (!(await this.waitFor(() => processesOf(master).length === 0, 5000))) {
				for (const {pid} of processesOf(master)) {
					signal(pid, 'SIGKILL');
				}

				await this.waitFor(() => processesOf(master).length === 0, 5000);
			}
		}

		if (!this.#keep) {
			await rm(this.directory, {recursive: true, force: true, maxRetries: 5, retryDelay: 100});
		}
	}

	/** Keeps the directory when the instance is stopped. */
	keep(): void {
		this.#keep = true;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.stop();
	}

	/** Sets a parameter in main.cf. Takes effect in new processes; see reload(). */
	async postconf(name: string, value: string): Promise<void> {
		await this.#run('postconf', ['-c', this.configDirectory, '-e', `${name}=${value}`]);
	}

	/** Has master(8) read its configuration again; done when it says so, and our own processes of before accept nothing more. */
	async reload(): Promise<void> {
		const reloads = async () => (await this.logLines(/postfix\/master\[\d+\]: reload -- /)).length;
		const before = await reloads();
		/* master(8) says so first, and closes the status channels then. A supervisor goes when its worker has let go. */
		const old = this.#supervisors();
		await this.#postfix('reload');
		const done = async (): Promise<boolean> =>
			(await reloads()) > before && !this.#supervisors().some(pid => old.includes(pid));
		if (!(await this.waitFor(done))) {
			throw new Error(`master(8) did not reload:\n${await this.log()}`);
		}
	}

	/** Tries to deliver all that is queued. */
	async flush(): Promise<void> {
		await this.#run('postqueue', ['-c', this.configDirectory, '-f']);
	}

	/** Names of all queue files that are not delivered yet. */
	async queue(): Promise<readonly string[]> {
		const found = await Promise.all(
			['incoming', 'active', 'deferred'].map(async name => {
				try {
					const files = await readdir(join(this.queueDirectory, name), {
						recursive: true,
						withFileTypes: true,
					});
					return files.filter(file => file.isFile()).map(file => file.name);
				} catch (reason) {
					/* A directory of the hash can go between two looks. */
					if ((reason as NodeJS.ErrnoException).code === 'ENOENT') {
						return [];
					}

					throw reason;
				}
			}),
		);
		return [...new Set(found.flat())];
	}

	/** All that the instance has logged. */
	async log(): Promise<string> {
		try {
			return await readFile(this.logFile, 'utf8');
		} catch {
			return '';
		}
	}

	/** Lines of the log, without line ends. */
	async logLines(pattern: RegExp = /./): Promise<readonly string[]> {
		return (await this.log()).split('\n').filter(line => pattern.test(line));
	}

	/**
	 * Processes that master(8) has started, by the last part of the path of their program. What such a
	 * process starts looks like itself at first.
	 */
	daemonPids(name: string): readonly number[] {
		const master = this.#master();
		return this.processes()
			.filter(entry => entry.parent === master && runsProgram(entry, name))
			.map(({pid}) => pid);
	}

	/** The processes that serve: those of our Node.js, or stock's own. */
	tlsproxyWorkers(): readonly number[] {
		return this.processes()
			.filter(
				({args}) => args.some(arg => arg.endsWith('/lib/main.js')) || /^(.*\/)?tlsproxy$/.test(args[0] ?? ''),
			)
			.map(({pid}) => pid);
	}

	/** All processes of the instance. */
	processes(): readonly ProcessEntry[] {
		const master = this.#master();
		return master === undefined ? [] : processesOf(master);
	}

	/** Asks until the answer is yes; tells whether it was, in time. */
	async waitFor(condition: () => boolean | Promise<boolean>, milliseconds = PATIENCE): Promise<boolean> {
		for (const end = Date.now() + milliseconds; ; ) {
			if (await condition()) {
				return true;
			}

			if (Date.now() >= end) {
				return false;
			}

			await sleep(20);
		}
	}

	/* Shell scripts, which is what tells them from the daemons of stock. */
	#supervisors(): readonly number[] {
		return this.processes()
			.filter(({args}) => args[1]?.endsWith('/tlsproxy') === true)
			.map(({pid}) => pid);
	}

	/* The lock file can be older than a process of the same number: look who it is. */
	#master(): number | undefined {
		try {
			const pid = Number(readFileSync(join(this.queueDirectory, 'pid', 'master.pid'), 'utf8').trim());
			const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
			return environment.includes(`MAIL_CONFIG=${this.configDirectory}`) ? pid : undefined;
		} catch {
			return undefined;
		}
	}

	/* resolv.conf(5) has one place: those who are to see another need a mount namespace of their own. */
	async #postfixStart(): Promise<void> {
		if (this.#resolver === undefined) {
			await this.#postfix('start');
			return;
		}

		const file = join(this.configDirectory, 'resolv.conf');
		await writeFile(file, `nameserver ${this.#resolver}\noptions trust-ad\n`);
		const script = 'mount --bind "$1" /etc/resolv.conf && exec postfix -c "$2" start';
		await this.#run('unshare', ['--mount', 'sh', '-c', script, 'sh', file, this.configDirectory]);
	}

	async #postfix(command: string): Promise<void> {
		await this.#run('postfix', ['-c', this.configDirectory, command]);
	}

	async #run(command: string, args: readonly string[]): Promise<void> {
		/*
		 * Output goes to a pipe that master(8) does not inherit. A process group of
		 * its own, so that a terminal's interrupt reaches us alone.
		 */
		const result = await execa(command, args, {
			env: {...commandEnvironment},
			extendEnv: false,
			stdin: 'ignore',
			detached: true,
			reject: false,
			timeout: COMMAND_LIMIT,
			all: true,
		});
		if (result.failed) {
			throw new Error(
				`${command} ${args.join(' ')}: ${result.all === '' ? result.shortMessage : result.all}`,
			);
		}
	}

	async #populate(options: SandboxOptions): Promise<void> {
		await chmod(this.directory, 0o755);
		await writeFile(join(this.directory, MARKER), String(this.submissionPort));
		for (const name of ['etc', 'log', 'data', 'queue', 'queue/pid']) {
			mkdirSync(join(this.directory, name), {mode: 0o755});
		}

		const owner = mailOwner();
		chownSync(join(this.directory, 'data'), owner.uid, owner.gid);
		for (const name of [...OWNED_BY_MAIL_OWNER, 'maildrop', 'public']) {
			const path = join(this.queueDirectory, name);
			const forGroup = name === 'maildrop' || name === 'public';
			mkdirSync(path);
			await chmod(path, name === 'maildrop' ? 0o1730 : name === 'public' ? 0o2710 : 0o700);
			chownSync(path, owner.uid, forGroup ? owner.dropGid : 0);
		}

		const lines = Object.entries({...this.#defaults(), ...options.main}).map(
			([name, value]) => `${name} = ${value}\n`,
		);
		await writeFile(join(this.configDirectory, 'main.cf'), lines.join(''));
		await writeFile(join(this.configDirectory, 'master.cf'), this.#masterCf(options));
		if ((options.tlsproxy ?? 'ours') === 'ours') {
			await this.#install(options);
		}

		await this.#copy(options.copies ?? {});
	}

	async #copy(copies: NonNullable<SandboxOptions['copies']>): Promise<void> {
		const file = join(this.configDirectory, 'master.cf');
		const text = await readFile(file, 'utf8');
		const [line = ''] = /^tlsproxy\s.*$/m.exec(text) ?? [];
		const lines = Object.entries(copies).flatMap(([name, parameters]) => [
			line.replace(/^tlsproxy/, name),
			...Object.entries(parameters).map(([parameter, value]) => `  -o {${parameter} = ${value}}`),
		]);
		await writeFile(file, `${text}${lines.join('\n')}\n`);
	}

	#defaults(): Readonly<Record<string, string>> {
		return {
			compatibility_level: compatibilityLevel(),
			queue_directory: this.queueDirectory,
			data_directory: join(this.directory, 'data'),
			maillog_file: this.logFile,
			maillog_file_prefixes: join(this.directory, 'log'),
			myhostname: 'sandbox.example',
			mydestination: '',
			alias_maps: '',
			alias_database: '',
			local_recipient_maps: '',
			inet_interfaces: 'loopback-only',
			inet_protocols: 'ipv4',
			mynetworks: '127.0.0.0/8',
			smtpd_relay_restrictions: 'permit_mynetworks, reject',
			smtpd_peername_lookup: 'no',
			smtpd_client_connection_count_limit: '0',
			smtp_dns_support_level: 'disabled',
			message_size_limit: '0',
			mailbox_size_limit: '0',
			in_flow_delay: '0',
			biff: 'no',
		};
	}

	#masterCf(options: SandboxOptions): string {
		const services = new Map(
			Object.entries(SERVICES).map(([name, columns]) => [`${name} unix`, `${name} ${columns}`]),
		);
		services.set('submission', `127.0.0.1:${this.submissionPort} inet n - n - - smtpd`);
		if (options.tlsproxy === 'stock') {
			services.set('tlsproxy unix', `tlsproxy unix - - ${options.chroot ?? 'n'} - 0 tlsproxy`);
		}

		for (const line of options.services ?? []) {
			services.set(line.split(/\s+/).slice(0, 2).join(' '), line);
		}

		return `${[...services.values()].join('\n')}\n`;
	}

	/* Where the program was built is not always a place that root may run programs from. */
	async #install(options: SandboxOptions): Promise<void> {
		const home = dirname(dirname(import.meta.dirname));
		const args = ['-c', this.configDirectory, '-C', options.chroot ?? 'n'];
		if (options.processLimit !== undefined) {
			args.push('-l', String(options.processLimit));
		}

		try {
			checkSafe(builtProgram(home));
		} catch (reason) {
			if (!(reason instanceof UsageError)) {
				throw reason;
			}

			args.push('-p', join(this.directory, 'program'));
		}

		await this.#run(join(home, 'postfix', 'install'), args);
	}
}

/* Before 3.6 a level is a number, and 2 is the last of them. */
function compatibilityLevel(): string {
	const [, minor = '0'] = /^3\.(\d+)/.exec(mailVersion()) ?? [];
	return Number(minor) < 6 ? '2' : '3.6';
}

function signal(pid: number, name: NodeJS.Signals): void {
	try {
		process.kill(pid, name);
	} catch (reason) {
		if ((reason as NodeJS.ErrnoException).code !== 'ESRCH') {
			throw reason;
		}
	}
}

function mailOwner(): {readonly uid: number; readonly gid: number; readonly dropGid: number} {
	const account = lookup('passwd', 'postfix');
	const group = lookup('group', 'postdrop');
	return {uid: Number(account[2]), gid: Number(account[3]), dropGid: Number(group[2])};
}

/* Debian's package makes both; where they come from a directory service they are not for a sandbox. */
function lookup(database: 'passwd' | 'group', name: string): readonly string[] {
	const found = readFileSync(`/etc/${database}`, 'utf8')
		.split('\n')
		.map(line => line.split(':'))
		.find(fields => fields[0] === name);
	if (found === undefined) {
		throw new UsageError(`/etc/${database} has no ${name}: is Postfix installed?`);
	}

	return found;
}

let portsTried = 0;

/**
 * A port of this host that nobody listens on. It is below the range that outgoing connections take their
 * ports from, so that none takes it before master(8) does; and processes that look at the same time look
 * at different ports.
 */
export async function freePort(): Promise<number> {
	for (;;) {
		const port = 10_000 + ((process.pid * 100 + portsTried++) % 20_000);
		const isFree = await new Promise<boolean>(resolve => {
			const server = createServer();
			server.once('error', () => resolve(false));
			server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
		});
		if (isFree) {
			return port;
		}
	}
}
