/*
 * An interpreter of seccomp filters. It knows the few instructions that they consist of.
 * An unknown instruction is an error, and so is a program that the kernel would reject.
 */

/** A system call, as it is passed to a filter. */
export interface Call {
	/** AUDIT_ARCH_… of linux/audit.h. */
	readonly arch: number;
	readonly number: number;
	readonly args?: ReadonlyArray<number | bigint>;
}

const SIZE = 8;

/** Runs a filter. Returns its action. */
export function evaluate(filter: Uint8Array, call: Call): number {
	const program = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
	const data = new DataView(new ArrayBuffer(64));
	data.setUint32(0, call.number, true);
	data.setUint32(4, call.arch, true);
	(call.args ?? []).forEach((value, index) => {
		data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
	});
	const count = filter.byteLength / SIZE;
	if (!Number.isInteger(count) || count > 4096) {
		throw new Error(`not a program: ${filter.byteLength} bytes`);
	}

	let accumulator = 0;
	for (let at = 0; at < count; at++) {
		const code = program.getUint16(at * SIZE, true);
		const k = program.getUint32(at * SIZE + 4, true);
		const holds = comparisons[code];
		if (holds !== undefined) {
			at += program.getUint8(at * SIZE + (holds(accumulator, k) ? 2 : 3));
		} else if (code === 0x20) {
			if (k % 4 !== 0) {
				throw new Error(`instruction ${at} loads from ${k}`);
			}

			accumulator = data.getUint32(k, true);
		} else if (code === 0x06) {
			return k;
		} else {
			throw new Error(`instruction ${at} has code ${code}`);
		}
	}

	throw new Error('the program ends without an action');
}

const comparisons: Readonly<Record<number, (accumulator: number, k: number) => boolean>> = {
	0x15: (accumulator, k) => accumulator === k,
	0x35: (accumulator, k) => accumulator >= k,
	0x45: (accumulator, k) => (accumulator & k) !== 0,
};
