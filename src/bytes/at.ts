/** The item at an index that is known to be there. Throws RangeError where it is not: a fault of ours, not of input. */
export function at<T>(list: ArrayLike<T>, index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`no item ${index} among ${list.length}`);
  return item;
}
