/*
 * Both programs with the same settings, and what cases need besides: certificates,
 * and servers that have them.
 */
import type {SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {Daemon, type Which} from './daemon.ts';
import {Peers} from './differential.ts';
import {makeLab} from './lab.ts';
import type {CertificateStore} from './openssl.ts';

export class Both implements AsyncDisposable {
	readonly lab: CertificateStore = makeLab();
	readonly #resources = new AsyncDisposableStack();
	readonly peers = new Peers({teardown: run => this.#resources.defer(async () => await run())}, this.lab);
	readonly #daemons = new Map<Which, Daemon>();

	get ours(): Daemon {
		return this.#daemon('ours');
	}

	get stock(): Daemon {
		return this.#daemon('stock');
	}

	/** Starts both; limits that end a process are out of the way. */
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

	#daemon(which: Which): Daemon {
		const daemon = this.#daemons.get(which);
		if (daemon === undefined) {
			throw new Error(`${which} has not started`);
		}

		return daemon;
	}
}
