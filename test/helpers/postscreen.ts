/*
 * postscreen(8) with a tlsproxy(8) behind it, ours or stock: remote clients get TLS
 * from the one and SMTP from the other.
 */
import {freePort, type SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {Daemon, type Which} from './daemon.ts';

/** A running pair. Disposal ends it. */
export class Screen implements AsyncDisposable {
	readonly daemon: Daemon;
	/** Where postscreen(8) listens, on 127.0.0.1. */
	readonly port: number;

	private constructor(daemon: Daemon, port: number) {
		this.daemon = daemon;
		this.port = port;
	}

	/** Starts both. Clients are tested behind the greeting, so that postscreen(8) has to talk to them. */
	static async start(which: Which, options: SandboxOptions = {}): Promise<Screen> {
		const port = await freePort();
		const daemon = await Daemon.start(which, {
			...options,
			services: [
				`127.0.0.1:${port} inet n - n - 1 postscreen`,
				'smtpd pass - - n - - smtpd',
				'dnsblog unix - - n - 0 dnsblog',
				...(options.services ?? []),
			],
			main: {
				postscreen_access_list: '',
				postscreen_greet_wait: '1s',
				postscreen_greet_banner: '',
				postscreen_dnsbl_sites: '',
				postscreen_pipelining_enable: 'yes',
				postscreen_non_smtp_command_enable: 'yes',
				postscreen_bare_newline_enable: 'yes',
				/* A client that has passed would be handed to smtpd(8), which does not need us. */
				postscreen_cache_map: '',
				smtpd_tls_security_level: 'may',
				smtpd_tls_loglevel: '1',
				smtpd_tls_session_cache_database: 'btree:$data_directory/smtpd_scache',
				...options.main,
			},
		});
		return new Screen(daemon, port);
	}

	/** What a program has logged, without time, host and process id. */
	async lines(program: string): Promise<readonly string[]> {
		const prefix = new RegExp(String.raw`^.*? postfix/${program}\[\d+\]: `);
		const lines = await this.daemon.sandbox.logLines(prefix);
		return lines.map(line => line.replace(prefix, ''));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.daemon[Symbol.asyncDispose]();
	}
}
