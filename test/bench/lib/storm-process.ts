/*
 * Hands off connections as fast as the program accepts them, until it is killed.
 */
import {HandOff, type Target} from './driver.ts';

process.on('message', ({target, concurrency}: {readonly target: Target; readonly concurrency: number}) => {
	const start = (): void => {
		HandOff.start(
			target,
			handOff => {
				handOff.close();
				start();
			},
			/* Hand-offs fail when master(8) stops; this process is killed soon after. */
			() => setTimeout(start, 10),
		);
	};
	for (let index = 0; index < concurrency; index++) {
		start();
	}
});
process.on('disconnect', () => process.exit(0));
