/*++
/* NAME
/*	interruption 3
/* SUMMARY
/*	a command that is interrupted leaves nothing behind
/* DESCRIPTION
/*	The first SIGINT, SIGTERM or SIGHUP removes what the command has
/*	started. Until that is done further signals are ignored, so that
/*	an impatient user does not leave daemons behind.
/*--*/

const STATUS = {SIGHUP: 129, SIGINT: 130, SIGTERM: 143} as const;

/**
 * Removes what a command has started when it is interrupted, and ends the process then. Once in the life of a
 * process.
 *
 * @param program - name of the command, for messages.
 * @param remove - removes all that there is by then, and whatever is still being made. Called once at most.
 * @returns waits for the end of the process if there was a signal, and for nothing if not: whatever fails in
 * between fails because its ground is being removed.
 */
export function removeOnSignal(program: string, remove: () => Promise<void>): () => Promise<void> {
	let removal: Promise<void> | undefined;
	const end = async (status: number): Promise<void> => {
		console.error(`\n${program}: interrupted, removing everything`);
		try {
			await remove();
			process.exit(status);
		} catch (reason) {
			console.error(`${program}: fatal: ${String(reason)}`);
			process.exit(1);
		}
	};
	for (const [name, status] of Object.entries(STATUS)) {
		process.on(name, () => {
			removal ??= end(status);
		});
	}

	return async () => {
		await removal;
	};
}
