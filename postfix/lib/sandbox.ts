/*++
/* NAME
/*	sandbox 3
/* SUMMARY
/*	a private Postfix instance
/* DESCRIPTION
/*	A Sandbox has configuration, queue, data and log in a new directory,
/*	and listens on a free port of 127.0.0.1. The daemons are those of
/*	the installed Postfix. The default instance of the host is not
/*	used, and not changed.
/*
/*	Root owns the directory. All users can read it, because daemons run
/*	as the mail owner; its name cannot be guessed in advance. Mail is
/*	submitted by SMTP: see inject(3).
/*
/*	stop() ends the processes of this instance only: master(8), which
/*	its lock file names, and then the rest of its session.
/* DIAGNOSTICS
/*	Error: a Postfix command failed; with its output.
/*
/*	UsageError: a directory is not a sandbox, or Postfix is not
/*	installed.
/*--*/

import {chownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {chmod, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {execa} from 'execa';
import {compareReleases} from '../../src/conf/release.ts';
import {commandEnvironment, mailVersion, minorRelease} from './instance.ts';
import {type ProcessEntry, processesOf, runsProgram} from './processes.ts';
import {builtProgram, checkSafe} from './program.ts';
import {UsageError} from './usage-error.ts';

/** Options of a sandbox. */
export interface SandboxOptions {
	/** Parameters for main.cf. */
	readonly main?: Readonly<Record<string, string>>;
	/** Lines for master.cf. A line replaces the default service of the same name and type. */
	readonly services?: readonly string[];
	/** The tlsproxy(8) of the instance. Default: this program, as postfix/install registers it. */
	readonly tlsproxy?: 'ours' | 'stock' | 'none';
	/** Additional services that run the same program as tlsproxy: parameters by service name. */
	readonly copies?: Readonly<Record<string, Readonly<Record<string, string>>>>;
	/** Chroot column of tlsproxy. Default n. */
	readonly chroot?: 'y' | 'n';
	/** Process limit of this program. Default: that of postfix/install. */
	readonly processLimit?: number;
	/** IP address of a DNS resolver that replaces those of the host. */
	readonly resolver?: string;
	/** stop() does not remove the directory. */
	readonly keep?: boolean;
}

/**
 * The time after which scache(8) has closed a stored connection, in milliseconds.
 *
 * Source: smtp_connection_cache_time_limit in postconf(5), 2 seconds, and time for the close.
 */
export const STORAGE_TIME = 2500;

/** A file that marks a directory that stop() may remove. */
const MARKER = '.tlsproxy-sandbox';

/** Time limit of a Postfix command, in milliseconds. It must be sufficient on a busy machine. */
const COMMAND_TIMEOUT = 120_000;

/** Default time limit of waitFor(), in milliseconds. It must be sufficient on a busy machine. */
const WAIT_TIMEOUT = 60_000;

/** Queue directories that the mail owner owns. Source: postfix conf/postfix-files. */
const OWNED_BY_MAIL_OWNER =
	'active bounce corrupt defer deferred flush hold incoming private saved trace'.split(' ');

/** Columns: type, private, unprivileged, chroot, wakeup, process limit, command. No chroot: the queue directory contains no files of the system. */
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

/** The sandboxes of this process that have not been stopped. */
const running = new Set<Sandbox>();
/** Set by stopAll(): no sandbox is created after it. */
let isClosed = false;

/** A private Postfix instance. It owns its directory and its processes; disposal stops and removes them. */
export class Sandbox implements AsyncDisposable {
	readonly directory: string;
	/** TCP port of smtpd(8) on 127.0.0.1. */
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

	/** Creates an instance. start() starts it. */
	static async create(options: SandboxOptions = {}): Promise<Sandbox> {
		const port = await freePort();
		if (isClosed) {
			throw new Error('all sandboxes are being removed');
		}

		const directory = mkdtempSync(join(tmpdir(), 'postfix-sandbox-'));
		const sandbox = new Sandbox(directory, port, options.keep ?? false, options.resolver);
		running.add(sandbox);
		try {
			await sandbox.#populate(options);
		} catch (reason) {
			running.delete(sandbox);
			rmSync(directory, {recursive: true, force: true});
			throw reason;
		}

		return sandbox;
	}

	/** Stops all sandboxes of this process, for a command that is interrupted. After this, create() fails. */
	static async stopAll(): Promise<void> {
		isClosed = true;
		await Promise.all(Array.from(running, sandbox => sandbox.stop()));
	}

	/**
	 * Takes over an instance that another process has created and left running.
	 *
	 * @throws {UsageError} if the directory is not that of a sandbox.
	 */
	static attach(directory: string): Sandbox {
		const marker = lstatSync(join(directory, MARKER), {throwIfNoEntry: false});
		const stat = lstatSync(directory, {throwIfNoEntry: false});
		/* Otherwise a user who can create a directory in /tmp could make root remove another directory. */
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

	/** Starts the instance. Resolves when it accepts mail. */
	async start(): Promise<void> {
		if (this.#stopped) {
			throw new Error('the sandbox was stopped');
		}

		this.#starting = this.#postfixStart().catch(async (reason: unknown) => {
			throw new Error(`the sandbox does not start: ${String(reason)}\n${await this.log()}`, {cause: reason});
		});
		await this.#starting;
	}

	/** Ends all processes of the instance, within ten seconds, and removes the directory unless keep is set. */
	async stop(): Promise<void> {
		this.#stopped = !this.#keep;
		running.delete(this);
		/* A start that has not finished may be about to write the lock file. */
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

	/** Makes stop() leave the directory. */
	keep(): void {
		this.#keep = true;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.stop();
	}

	/** Sets a parameter in main.cf. It takes effect in new processes: see reload(). */
	async postconf(name: string, value: string): Promise<void> {
		await this.#run('postconf', ['-c', this.configDirectory, '-e', `${name}=${value}`]);
	}

	/** Reloads the instance. Resolves when master(8) has logged the reload and earlier processes of this program no longer accept connections. */
	async reload(): Promise<void> {
		const reloads = async () => (await this.logLines(/postfix\/master\[\d+\]: reload -- /)).length;
		const before = await reloads();
		/* master(8) logs the reload before it closes the status pipes. A supervisor ends when its worker has closed the listening socket. */
		const old = this.#supervisors();
		await this.#postfix('reload');
		const done = async (): Promise<boolean> =>
			(await reloads()) > before && !this.#supervisors().some(pid => old.includes(pid));
		if (!(await this.waitFor(done))) {
			throw new Error(`master(8) did not reload:\n${await this.log()}`);
		}
	}

	/** Attempts to deliver all queued messages. */
	async flush(): Promise<void> {
		await this.#run('postqueue', ['-c', this.configDirectory, '-f']);
	}

	/** Names of the queue files of all undelivered messages. */
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
					/* Postfix can remove a hash directory while it is being read. */
					if ((reason as NodeJS.ErrnoException).code === 'ENOENT') {
						return [];
					}

					throw reason;
				}
			}),
		);
		return [...new Set(found.flat())];
	}

	/** The log of the instance; empty before the first line. */
	async log(): Promise<string> {
		try {
			return await readFile(this.logFile, 'utf8');
		} catch {
			return '';
		}
	}

	/** Lines of the log that match, without newlines. */
	async logLines(pattern: RegExp = /./): Promise<readonly string[]> {
		return (await this.log()).split('\n').filter(line => pattern.test(line));
	}

	/**
	 * Process IDs of the children of master(8) that run a program, by the base name of the program.
	 *
	 * Other processes are excluded, because a child of a daemon has the command line of the daemon until it
	 * calls execve().
	 */
	daemonPids(name: string): readonly number[] {
		const master = this.#master();
		return this.processes()
			.filter(entry => entry.parent === master && runsProgram(entry, name))
			.map(({pid}) => pid);
	}

	/** Process IDs of the processes that serve: the workers of this program, or stock tlsproxy(8). */
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

	/** Polls a condition until it is true. Returns false if the time limit expires first. */
	async waitFor(condition: () => boolean | Promise<boolean>, milliseconds = WAIT_TIMEOUT): Promise<boolean> {
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

	/* Supervisors are scripts: the path is the second argument. In stock daemons it is the first. */
	#supervisors(): readonly number[] {
		return this.processes()
			.filter(({args}) => /\/(?:tlsproxy|supervisor\.pl)$/.test(args[1] ?? ''))
			.map(({pid}) => pid);
	}

	/* The process ID in an old lock file can be that of another process: the environment identifies the instance. */
	#master(): number | undefined {
		try {
			const pid = Number(readFileSync(join(this.queueDirectory, 'pid', 'master.pid'), 'utf8').trim());
			const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
			return environment.includes(`MAIL_CONFIG=${this.configDirectory}`) ? pid : undefined;
		} catch {
			return undefined;
		}
	}

	/* The path of resolv.conf(5) is fixed: another resolver requires a mount namespace. */
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
		 * Output goes to a pipe that master(8) does not inherit. The command runs in a new process group, so that
		 * the terminal sends SIGINT to this process only.
		 */
		const result = await execa(command, args, {
			env: {...commandEnvironment},
			extendEnv: false,
			stdin: 'ignore',
			detached: true,
			reject: false,
			timeout: COMMAND_TIMEOUT,
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

	/* If other users can write to the directory where the program was built, root must not run it there: install a copy. */
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

/* The latest level that the release knows, up to 3.6. Before 3.6, levels are integers up to 2. */
function compatibilityLevel(): string {
	return compareReleases(minorRelease(mailVersion()), '3.6') < 0 ? '2' : '3.6';
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

/* Accounts that only a directory service knows are not supported: the Debian package creates local ones. */
function lookup(database: 'passwd' | 'group', name: string): readonly string[] {
	const found = readFileSync(`/etc/${database}`, 'utf8')
		.split('\n')
		.map(line => line.split(':'))
		.find(fields => fields[0] === name);
	if (found === undefined) {
		throw new UsageError(`/etc/${database} does not contain ${name}: is Postfix installed?`);
	}

	return found;
}

/** Number of calls of freePort() and of ports that it found in use. */
let portsTried = 0;

/**
 * A TCP port of 127.0.0.1 that is not in use.
 *
 * It is below the range of local ports for outgoing connections, so that no connection takes it before the
 * caller listens. Processes that call this at the same time start with different ports.
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
