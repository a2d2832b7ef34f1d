/* Both programs with the same settings, certificates, and servers that use them. */
import type {SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {CaseServers} from './client-role-cases.ts';
import {Daemon, type Program} from './daemon.ts';
import {makeLab} from './lab.ts';
import type {CertificateStore} from './openssl.ts';

/** The program under test and stock. Disposal ends both, and removes the certificates. */
export class BothPrograms implements AsyncDisposable {
	readonly lab: CertificateStore = makeLab();
	readonly #resources = new AsyncDisposableStack();
	readonly peers = new CaseServers(
		{teardown: run => this.#resources.defer(async () => await run())},
		this.lab,
	);
	readonly #daemons = new Map<Program, Daemon>();

	get ours(): Daemon {
		return this.#daemon('ours');
	}

	get stock(): Daemon {
		return this.#daemon('stock');
	}

	/** Starts both, with a max_use that is never reached. */
	async start(
		main: Readonly<Record<string, string>>,
		services: Pick<SandboxOptions, 'copies'> = {},
	): Promise<void> {
		await Promise.all(
			(['ours', 'stock'] as const).map(async which => {
				const options = {...services, main: {max_use: '100000', ...main}};
				this.#daemons.set(which, this.#resources.use(await Daemon.start(which, options)));
			}),
		);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#resources.disposeAsync();
		this.lab[Symbol.dispose]();
	}

	#daemon(which: Program): Daemon {
		const daemon = this.#daemons.get(which);
		if (daemon === undefined) {
			throw new Error(`${which} has not started`);
		}

		return daemon;
	}
}
