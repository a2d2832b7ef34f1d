/* postscreen(8) with a tlsproxy(8), this program or stock, that provides TLS for its clients. */
import {freePort, type SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {Daemon, type Program, programLines} from './daemon.ts';

/** An instance with both services. Disposal stops it. */
export class Postscreen implements AsyncDisposable {
	readonly daemon: Daemon;
	/** Port of postscreen(8) on 127.0.0.1. */
	readonly port: number;

	private constructor(daemon: Daemon, port: number) {
		this.daemon = daemon;
		this.port = port;
	}

	/** Starts both. The tests after the greeting are on, so that postscreen(8) runs the SMTP dialogue. */
	static async start(which: Program, options: SandboxOptions = {}): Promise<Postscreen> {
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
				/* A client that has passed would be handed to smtpd(8), which does not use tlsproxy(8). */
				postscreen_cache_map: '',
				smtpd_tls_security_level: 'may',
				smtpd_tls_loglevel: '1',
				smtpd_tls_session_cache_database: 'btree:$data_directory/smtpd_scache',
				...options.main,
			},
		});
		return new Postscreen(daemon, port);
	}

	/** The log lines of a program, without time, host and process ID. */
	async lines(program: string): Promise<readonly string[]> {
		return await programLines(this.daemon.sandbox, program);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.daemon[Symbol.asyncDispose]();
	}
}
