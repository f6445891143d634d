"""The heart of ULDA (sec. 3): how the labels of a series are spread, what they would be were everybody asked, what
follows.

The *utopia label* is the mean over infinitely many annotators. A label from few annotators stands for a Gaussian around
it, so the distribution of the utopia labels is approximated by convolving the label histogram with a Gaussian (Eq. 2).
Two treatments use the difference between the two: weights of the loss (CWL, Eqs. 7 and 8) and new samples drawn in time
slices (TNS, Eqs. 3 to 6).

Read in this order: `histogram` (n), `kernel` and `convolve` (n~), `weights` (CWL), `slices` and `plan` (TNS), `series`
(all of one series), `approximate` (the job). Beside the convolution stand two other ways to n~, neither in the paper:
`calibrated` (ours) and `oracle` (a control). NumPy only. In shapes and names: T frames of a series, b bins, S time
slices.
"""
