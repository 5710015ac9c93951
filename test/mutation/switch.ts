/** Which mutant is on in this worker (0: none), and which ones were asked for since `reached` was cleared. */
export const mutation = { active: 0, reached: new Uint8Array(0) };
